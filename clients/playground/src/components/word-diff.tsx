/** Two texts side by side, with the words marked that differ. */
import { diffWordsWithSpace } from "diff";
import { useMemo } from "preact/hooks";

// A comparison that needs more edits than this would hold up the page, and show nothing but marks.
const MOST_EDITS = 4000;

interface Props {
  before: string;
  after: string;
  titles: readonly [string, string];
}

export function WordDiff({ before, after, titles }: Props) {
  const parts = useMemo(
    () => diffWordsWithSpace(before, after, { maxEditLength: MOST_EDITS }) ?? [],
    [before, after],
  );
  const apart = parts.length === 0;
  return (
    <div class="diff">
      <div>
        <h3>{titles[0]}</h3>
        <p class="prose">
          {apart ? before : parts.map((part, at) => !part.added && (part.removed ? <del key={at}>{part.value}</del> : part.value))}
        </p>
      </div>
      <div>
        <h3>{titles[1]}</h3>
        <p class="prose">
          {apart ? after : parts.map((part, at) => !part.removed && (part.added ? <ins key={at}>{part.value}</ins> : part.value))}
        </p>
      </div>
    </div>
  );
}
