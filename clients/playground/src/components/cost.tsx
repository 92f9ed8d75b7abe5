/** What a search cost: tokens by role, and when its calls ran. */
import { useVirtualizer } from "@tanstack/react-virtual";
import { useRef } from "preact/hooks";
import { type Call, nameOf, ROLES, type Role, type Search } from "../model/search";

const NAMES: Readonly<Record<Role, string>> = { actor: "Actor", judge: "Judge", refiner: "Refiner" };

export function TokensByRole({ calls }: { calls: readonly Call[] }) {
  const rows = ROLES.map((role) => {
    const own = calls.filter((call) => call.role === role);
    return {
      role,
      calls: own.reduce((sum, call) => sum + call.count, 0),
      prompt: total(own.map((call) => call.prompt)),
      completion: total(own.map((call) => call.completion)),
    };
  });
  const all = rows.reduce((sum, row) => sum + (row.completion ?? 0), 0);
  return (
    <table class="tokens">
      <caption class="hidden">Tokens by role</caption>
      <thead>
        <tr>
          <th scope="col">Role</th>
          <th scope="col">Calls</th>
          <th scope="col">Read</th>
          <th scope="col">Written</th>
          <th scope="col" class="wide">
            <span class="hidden">Share of what was written</span>
          </th>
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <tr key={row.role}>
            <th scope="row">
              <span class={`swatch ${row.role}`} /> {NAMES[row.role]}
            </th>
            <td>{row.calls}</td>
            <td>{count(row.prompt)}</td>
            <td>{count(row.completion)}</td>
            <td class="wide">
              <svg class="share" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">
                <rect class={`bar ${row.role}`} width={all ? (100 * (row.completion ?? 0)) / all : 0} height="6" />
              </svg>
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function total(counts: readonly (number | null)[]): number | null {
  return counts.some((each) => each === null) ? null : counts.reduce<number>((sum, each) => sum + (each ?? 0), 0);
}

function count(number: number | null): string {
  return number === null ? "not counted" : number.toLocaleString("en");
}

const LINE = 24;

export function TimeLine({ search, onSelect }: { search: Search; onSelect: (id: string) => void }) {
  const frame = useRef<HTMLDivElement>(null);
  const calls = [...search.calls].sort((one, other) => one.startedMs - other.startedMs);
  const end = Math.max(1, ...calls.map((call) => call.endedMs));
  const lines = useVirtualizer({
    count: calls.length,
    getScrollElement: () => frame.current,
    estimateSize: () => LINE,
    overscan: 12,
  });
  return (
    <div class="time-line" ref={frame} tabIndex={0} role="region" aria-label="Time line of the calls">
      <div class="lines" style={{ height: `${lines.getTotalSize()}px` }}>
        {lines.getVirtualItems().map((item) => {
          const call = calls[item.index]!;
          const node = search.nodes.get(call.id);
          const seconds = ((call.endedMs - call.startedMs) / 1000).toFixed(2);
          const what = `${NAMES[call.role]}, ${node ? nameOf(node) : "Draft"}`;
          const votes = call.count > 1 ? `, ${call.count} at once` : "";
          const fate = call.outcome === "finished" ? "" : `, ${call.outcome}`;
          return (
            <button
              type="button"
              key={item.key}
              class="line"
              style={{ transform: `translateY(${item.start}px)` }}
              onClick={() => onSelect(call.id)}
              title={`${what}${votes}${fate}: ${seconds} s`}
            >
              <span class="what">
                {node ? nameOf(node) : "Draft"} <span class="quiet">{NAMES[call.role].toLowerCase()}</span>
              </span>
              <span class="track">
                <span
                  class={`bar ${call.role} ${call.outcome}`}
                  style={{ left: `${(100 * call.startedMs) / end}%`, width: `${Math.max(0.6, (100 * (call.endedMs - call.startedMs)) / end)}%` }}
                />
              </span>
              <span class="seconds">{seconds} s</span>
            </button>
          );
        })}
      </div>
    </div>
  );
}
