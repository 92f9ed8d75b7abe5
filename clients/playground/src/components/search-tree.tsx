/** The tree of a search, from left to right: one row for each leaf, one column for each depth. */
import { hierarchy, type HierarchyPointNode, tree as layout } from "d3-hierarchy";
import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { colorsOf } from "../model/color";
import { type Node, problemOf, type Search, tallyOf, titleOf, verdictOf } from "../model/search";

const ROW = 38;
const COLUMN = 112;
const WIDTH = 62;
const HEIGHT = 26;
const MARGIN = 12;

interface Item {
  id: string;
  node: Node;
}

type Placed = HierarchyPointNode<Item>;

interface Props {
  search: Search;
  /** Changes whenever the search has. */
  version: number;
  selected: string | null;
  onSelect: (id: string) => void;
}

export function SearchTree({ search, version, selected, onSelect }: Props) {
  const [hovered, setHovered] = useState<string | null>(null);
  const frame = useRef<HTMLDivElement>(null);
  const root = useMemo(() => place(search), [search, version]);
  const placed = root?.descendants() ?? [];
  const rows = placed.map((each) => each.x);
  const top = Math.min(...rows);
  const chosen = placed.find((each) => each.data.id === selected);
  // A tall tree is scrolled to the selected node, again if that moves because the tree grows.
  useLayoutEffect(() => {
    const scroll = frame.current?.querySelector<HTMLElement>(".tree-scroll");
    const node = scroll?.querySelector(".node.selected")?.getBoundingClientRect();
    if (!scroll || !node) return;
    const seen = scroll.getBoundingClientRect();
    if (node.top < seen.top || node.bottom > seen.bottom) scroll.scrollTop += (node.top + node.bottom - seen.top - seen.bottom) / 2;
    if (node.left < seen.left || node.right > seen.right) scroll.scrollLeft += (node.left + node.right - seen.left - seen.right) / 2;
  }, [selected, chosen && chosen.x - top]);
  if (!root) return <p class="quiet">The tree begins with the draft.</p>;
  const height = Math.max(...rows) - top + HEIGHT + 2 * MARGIN;
  const width = root.height * COLUMN + WIDTH + 2 * MARGIN;
  const x = (each: Placed) => MARGIN + each.depth * COLUMN;
  const y = (each: Placed) => MARGIN + each.x - top;
  const current = placed.find((each) => each.data.id === selected) ?? root;
  const shown = placed.find((each) => each.data.id === hovered);
  const focus = (each: Placed | undefined) => {
    if (!each) return;
    onSelect(each.data.id);
    frame.current?.querySelector<SVGElement>(`[data-id="${each.data.id}"]`)?.focus();
  };
  return (
    <div class="tree-frame" ref={frame}>
      <div class="tree-scroll">
        <svg width={width} height={height} role="tree" aria-label="Search tree">
          {placed.slice(1).map((each) => (
            <g key={each.data.id} role="none" class={edgeClass(each, search)} onMouseEnter={() => setHovered(each.data.id)} onMouseLeave={() => setHovered(null)}>
              <path d={curve(x(each.parent!) + WIDTH, y(each.parent!) + HEIGHT / 2, x(each), y(each) + HEIGHT / 2)} />
              <path class="reach" d={curve(x(each.parent!) + WIDTH, y(each.parent!) + HEIGHT / 2, x(each), y(each) + HEIGHT / 2)} />
              {each.data.node.critique !== null && (
                <circle class="critique-mark" cx={x(each) - 12} cy={y(each) + HEIGHT / 2} r="4" />
              )}
            </g>
          ))}
          {placed.map((each) => (
            <TreeItem
              key={each.data.id}
              each={each}
              x={x(each)}
              y={y(each)}
              isAnswer={search.answer === each.data.id}
              isSelected={each.data.id === selected}
              isCurrent={each === current}
              onSelect={() => onSelect(each.data.id)}
              onShow={(is) => setHovered(is ? each.data.id : null)}
              onKey={(key) => focus(neighbour(each, placed, key))}
            />
          ))}
        </svg>
      </div>
      {shown && <Popover node={shown.data.node} />}
    </div>
  );
}

interface ItemProps {
  each: Placed;
  x: number;
  y: number;
  isAnswer: boolean;
  isSelected: boolean;
  isCurrent: boolean;
  onSelect: () => void;
  onShow: (is: boolean) => void;
  onKey: (key: string) => void;
}

function TreeItem({ each, x, y, isAnswer, isSelected, isCurrent, onSelect, onShow, onKey }: ItemProps) {
  const node = each.data.node;
  const colors = node.value === null ? null : colorsOf(node.value);
  const label = [
    titleOf(node),
    verdictOf(node),
    tallyOf(node) && `${tallyOf(node).replace("/", " of ")} votes for it`,
    isAnswer && "the answer",
  ];
  return (
    <g
      class={`node ${node.state}${isSelected ? " selected" : ""}${isAnswer ? " answer" : ""}`}
      transform={`translate(${x} ${y})`}
      role="treeitem"
      aria-level={each.depth + 1}
      aria-selected={isSelected}
      aria-label={label.filter(Boolean).join(", ")}
      tabIndex={isCurrent ? 0 : -1}
      data-id={each.data.id}
      data-state={node.state}
      onClick={onSelect}
      onMouseEnter={() => onShow(true)}
      onMouseLeave={() => onShow(false)}
      onFocus={() => onShow(true)}
      onBlur={() => onShow(false)}
      onKeyDown={(event) => {
        if (event.key === "Enter" || event.key === " ") onSelect();
        else if (event.key === "Escape") onShow(false);
        else if (event.key.startsWith("Arrow") || event.key === "Home" || event.key === "End") onKey(event.key);
        else return;
        event.preventDefault();
      }}
    >
      {isAnswer && <rect class="ring" x="-4" y="-4" width={WIDTH + 8} height={HEIGHT + 8} rx="11" />}
      <rect class="pill" width={WIDTH} height={HEIGHT} rx="8" fill={colors?.fill} />
      <text x={WIDTH / 2} y={HEIGHT / 2 + 4.5} fill={colors?.text}>
        {short(node)}
      </text>
    </g>
  );
}

function Popover({ node }: { node: Node }) {
  const problem = problemOf(node);
  return (
    <div class="popover" role="status">
      <strong>
        {titleOf(node)} · {verdictOf(node)}
      </strong>
      {node.critique !== null && (
        <p>
          <span class="label">Critique</span> {clip(node.critique, 260)}
        </p>
      )}
      {problem && <p>{problem}</p>}
      {node.votes.length > 0 && (
        <ul class="votes-brief">
          {node.votes.slice(0, 6).map((vote, index) => (
            <li key={index}>
              <Verdict verdict={vote.verdict} /> {clip(vote.error ?? (vote.text || "no text"), 90)}
            </li>
          ))}
          {node.votes.length > 6 && <li>and {node.votes.length - 6} more</li>}
        </ul>
      )}
    </div>
  );
}

export function Verdict({ verdict }: { verdict: boolean | null }) {
  const text = verdict === null ? "?" : verdict ? "Yes" : "No";
  return <span class={`verdict ${verdict === null ? "none" : verdict ? "yes" : "no"}`}>{text}</span>;
}

function place(search: Search): Placed | null {
  const draft = search.draft;
  if (!draft) return null;
  const children = new Map<string, Item[]>();
  for (const node of search.nodes.values()) {
    if (!node.path.length) continue;
    const parent = node.path.slice(0, -1).join(".");
    const known = children.get(parent) ?? [];
    known.push({ id: node.id, node });
    children.set(parent, known);
  }
  for (const list of children.values()) list.sort((one, other) => one.node.path.at(-1)! - other.node.path.at(-1)!);
  const root = hierarchy<Item>({ id: "", node: draft }, (item) => children.get(item.id));
  return layout<Item>().nodeSize([ROW, COLUMN]).separation(() => 1)(root);
}

function neighbour(each: Placed, placed: readonly Placed[], key: string): Placed | undefined {
  const level = placed.filter((other) => other.depth === each.depth).sort((one, other) => one.x - other.x);
  const at = level.indexOf(each);
  if (key === "ArrowLeft") return each.parent ?? undefined;
  if (key === "ArrowRight") return each.children?.[0];
  if (key === "ArrowUp") return level[at - 1];
  if (key === "ArrowDown") return level[at + 1];
  return key === "Home" ? placed[0] : placed.at(-1);
}

function edgeClass(each: Placed, search: Search): string {
  const answer = search.answer;
  const leads = answer !== null && (answer === each.data.id || answer.startsWith(`${each.data.id}.`));
  return `edge${each.data.node.fresh ? " fresh" : ""}${leads ? " leads" : ""}`;
}

function curve(x1: number, y1: number, x2: number, y2: number): string {
  const middle = (x1 + x2) / 2;
  return `M${x1} ${y1}C${middle} ${y1} ${middle} ${y2} ${x2} ${y2}`;
}

function short(node: Node): string {
  if (node.state === "failed") return "failed";
  if (node.state === "cancelled" || node.state === "interrupted") return "stopped";
  if (node.state === "drafting" || node.state === "refining") return "···";
  const tally = tallyOf(node);
  const sign = node.state === "judged" && node.accepted ? " ✓" : "";
  if (tally) return `${tally}${sign}`;
  if (node.value !== null) return `${node.value.toFixed(1)}${sign}`;
  return node.state === "judging" ? "···" : "?";
}

export function clip(text: string, most: number): string {
  const line = text.replace(/\s+/g, " ").trim();
  return line.length > most ? `${line.slice(0, most - 1)}…` : line;
}
