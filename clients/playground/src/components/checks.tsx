/** Checks picked from the server's list, each with its kwargs. */
import { useState } from "preact/hooks";
import type { CheckType } from "../../../typescript/src/index.js";

export interface Picked {
  id: string;
  kwargs: Record<string, unknown>;
}

interface Schema {
  type?: string;
  enum?: string[];
  minimum?: number;
  maxLength?: number;
}

interface Props {
  types: readonly CheckType[];
  picked: readonly Picked[];
  onChange: (picked: Picked[]) => void;
}

export function Checks({ types, picked, onChange }: Props) {
  const [query, setQuery] = useState("");
  const found = types.filter((type) => `${titleOf(type.id)} ${type.id} ${type.requirement ?? ""}`.toLowerCase().includes(query.toLowerCase()));
  const families = new Map<string, CheckType[]>();
  for (const type of found) {
    const family = type.id.split(":")[0]!;
    families.set(family, [...(families.get(family) ?? []), type]);
  }
  const replace = (index: number, check: Picked) => onChange(picked.map((each, at) => (at === index ? check : each)));
  return (
    <fieldset class="checks">
      <legend>Checks</legend>
      <p class="quiet">Code verifies these exactly. An answer that fails one is rejected.</p>
      <div class="row">
        <input type="search" aria-label="Search the checks" placeholder="Search" value={query} onInput={(event) => setQuery(event.currentTarget.value)} />
        <select
          aria-label="Add a check"
          value=""
          onChange={(event) => {
            const type = types.find((each) => each.id === event.currentTarget.value);
            event.currentTarget.value = "";
            if (type) onChange([...picked, { id: type.id, kwargs: { ...(type.example as Record<string, unknown>) } }]);
          }}
        >
          <option value="">Add a check ({found.length})</option>
          {[...families].map(([family, members]) => (
            <optgroup key={family} label={family.replace(/[_-]/g, " ")}>
              {members.map((type) => (
                <option key={type.id} value={type.id}>
                  {titleOf(type.id)}
                </option>
              ))}
            </optgroup>
          ))}
        </select>
      </div>
      {picked.map((check, index) => {
        const schemas = (types.find((type) => type.id === check.id)?.kwargs ?? {}) as Record<string, Schema>;
        return (
          <div class="picked" key={index} role="group" aria-label={titleOf(check.id)}>
            <span class="picked-title">{titleOf(check.id)}</span>
            <button type="button" class="ghost" aria-label={`Remove ${titleOf(check.id)}`} onClick={() => onChange(picked.filter((_, at) => at !== index))}>
              Remove
            </button>
            {Object.entries(schemas).map(([name, schema]) => (
              <label key={name} class="field">
                <span>{name.replace(/_/g, " ")}</span>
                <Value
                  schema={schema}
                  value={check.kwargs[name]}
                  onChange={(value) => replace(index, { ...check, kwargs: { ...check.kwargs, [name]: value } })}
                />
              </label>
            ))}
          </div>
        );
      })}
    </fieldset>
  );
}

interface ValueProps {
  schema: Schema;
  value: unknown;
  onChange: (value: unknown) => void;
}

function Value({ schema, value, onChange }: ValueProps) {
  if (schema.enum) {
    return (
      <select value={String(value)} onChange={(event) => onChange(event.currentTarget.value)}>
        {schema.enum.map((each) => (
          <option key={each}>{each}</option>
        ))}
      </select>
    );
  }
  if (schema.type === "integer") {
    return (
      <input type="number" required min={schema.minimum} value={String(value)} onInput={(event) => onChange(event.currentTarget.valueAsNumber)} />
    );
  }
  if (schema.type === "array") {
    return (
      <input
        type="text"
        required
        placeholder="words, with commas"
        // Read only when left: a comma in the making is not a list yet.
        defaultValue={(value as string[]).join(", ")}
        onChange={(event) => onChange(event.currentTarget.value.split(",").map((word) => word.trim()).filter(Boolean))}
      />
    );
  }
  return <input type="text" required maxLength={schema.maxLength} value={String(value)} onInput={(event) => onChange(event.currentTarget.value)} />;
}

function titleOf(id: string): string {
  const name = id.slice(id.indexOf(":") + 1).replace(/_/g, " ");
  return name.charAt(0).toUpperCase() + name.slice(1);
}
