/** One node: its text, what it refines by, its votes and checks, and the prompts that were sent for it. */
import { useState } from "preact/hooks";
import { type Call, type Node, problemOf, type Search, tallyOf, titleOf, verdictOf } from "../model/search";
import { Verdict } from "./search-tree";

export function NodeDetails({ node, search }: { node: Node; search: Search }) {
  const problem = problemOf(node);
  const tally = tallyOf(node);
  return (
    <section class="details" aria-label={titleOf(node)}>
      <h3>
        {titleOf(node)} <span class={`badge ${badge(node)}`}>{verdictOf(node)}</span>
        {tally && <span class="quiet"> {tally.replace("/", " of ")} votes for it</span>}
        {node.fresh && node.path.length > 0 && <span class="quiet"> a fresh draft</span>}
      </h3>
      {problem && <p class="problem">{problem}</p>}
      {node.critique !== null && (
        <Fold title="The critique it follows" open>
          <pre class="prose">{node.critique}</pre>
        </Fold>
      )}
      {node.text !== null && (
        <Fold title="Text" open>
          <pre class="prose">{node.text || "(empty)"}</pre>
        </Fold>
      )}
      {node.checklist && (
        <Fold title={`Checklist (${node.checklist.items.filter((item) => item.passed).length} of ${node.checklist.items.length})`} open>
          <ul class="plain">
            {node.checklist.items.map((item, index) => (
              <li key={index}>
                <Verdict verdict={item.passed} /> {item.requirement}
                <span class="quiet">: {item.evidence}</span>
              </li>
            ))}
          </ul>
        </Fold>
      )}
      {!node.checklist && node.findings.length > 0 && (
        <Fold title="Checks" open>
          <ul class="plain">
            {node.findings.map((finding, index) => (
              <li key={index}>
                <Verdict verdict={finding.passed} /> {finding.evidence}
              </li>
            ))}
          </ul>
        </Fold>
      )}
      {node.votes.length > 0 && (
        <Fold title={`Votes (${node.votes.length})`}>
          <ol class="plain">
            {node.votes.map((vote, index) => (
              <li key={index}>
                <Verdict verdict={vote.verdict} />
                <pre class="prose">{vote.error ?? (vote.text || "(no text)")}</pre>
              </li>
            ))}
          </ol>
        </Fold>
      )}
      <Prompts calls={search.calls.filter((call) => call.id === node.id)} />
    </section>
  );
}

const ROLE_OF: Readonly<Record<string, string>> = { actor: "Drafting", judge: "Judging", refiner: "Refining" };

function Prompts({ calls }: { calls: readonly Call[] }) {
  const [isRaw, setRaw] = useState(false);
  if (!calls.length) return null;
  const known = calls.filter((call) => call.messages !== null);
  // Rounds of votes send the same prompt again.
  const prompts = new Map(known.map((call) => [call.role + JSON.stringify(call.messages), call]));
  return (
    <Fold title="Prompts that were sent">
      {prompts.size === 0 ? (
        <p class="quiet">This trace was stored without its prompts.</p>
      ) : (
        <label class="check">
          <input type="checkbox" checked={isRaw} onChange={(event) => setRaw(event.currentTarget.checked)} /> Raw
        </label>
      )}
      {[...prompts.values()].map((call, index) => (
        <div key={index} class="prompt">
          <h4>{ROLE_OF[call.role] ?? call.role}</h4>
          {isRaw ? (
            <pre>{JSON.stringify(call.messages, null, 2)}</pre>
          ) : (
            call.messages?.map((message, place) => (
              <div key={place} class="message">
                <span class="label">{message.role}</span>
                <pre class="prose">
                  {typeof message.content === "string" ? message.content : JSON.stringify(message.content, null, 2)}
                </pre>
              </div>
            ))
          )}
        </div>
      ))}
    </Fold>
  );
}

interface FoldProps {
  title: string;
  open?: boolean;
  children: preact.ComponentChildren;
}

/** A part that can be folded away; its content is made only once it is open. */
export function Fold({ title, open = false, children }: FoldProps) {
  const [isOpen, setOpen] = useState(open);
  return (
    <details class="fold" open={isOpen} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>{title}</summary>
      {isOpen && <div class="fold-body">{children}</div>}
    </details>
  );
}

function badge(node: Node): string {
  if (node.state === "failed") return "bad";
  if (node.state !== "judged") return "";
  return node.accepted ? "good" : "bad";
}
