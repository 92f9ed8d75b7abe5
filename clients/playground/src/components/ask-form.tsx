/** The question: a prompt or a conversation, the model, the budget, and how it is spent. */
import { EXAMPLE, type Form, type Options, type Turn } from "../model/form";
import { type Offer, titledAlgorithms } from "../model/offer";
import { Checks } from "./checks";
import { Fold } from "./node-details";

const STEPS = [0, 1, 2, 3, 4, 6, 8, 10, 12, 15, 20, 24, 32, 48, 64];

interface Props {
  form: Form;
  offer: Offer;
  onChange: (form: Form) => void;
  running: boolean;
  onAsk: () => void;
  onStop: () => void;
  /** Comparisons have budgets and algorithms of their own. */
  compares?: boolean;
}

export function AskForm({ form, offer, onChange, running, onAsk, onStop, compares = false }: Props) {
  const change = (part: Partial<Form>) => onChange({ ...form, ...part });
  const option = (part: Partial<Options>) => change({ options: { ...form.options, ...part } });
  const isEmpty = !form.turns.some((turn) => turn.content.trim());
  return (
    <form
      class="ask card"
      onSubmit={(event) => {
        event.preventDefault();
        if (!running && !isEmpty) onAsk();
      }}
      onKeyDown={(event) => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) event.currentTarget.requestSubmit();
      }}
    >
      <Conversation turns={form.turns} onChange={(turns) => change({ turns })} />
      {isEmpty && (
        <button type="button" class="ghost example" onClick={() => change({ turns: [{ role: "user", content: EXAMPLE }] })}>
          Try: {EXAMPLE}
        </button>
      )}
      <div class="row controls">
        <label class="field">
          <span>Model</span>
          <select value={form.model} onChange={(event) => change({ model: event.currentTarget.value })}>
            {offer.models.length === 0 && <option value="">default</option>}
            {offer.models.map((model, index) => (
              <option key={model} value={index ? model : ""}>
                {model}
              </option>
            ))}
          </select>
        </label>
        {!compares && <BudgetSlider budget={form.budget} onChange={(budget) => change({ budget })} label="Budget" />}
      </div>
      <Fold title={optionsTitle(form)}>
        <OptionFields options={form.options} offer={offer} onChange={option} compares={compares} />
        <Checks types={offer.checks} picked={form.checks} onChange={(checks) => change({ checks })} />
      </Fold>
      <div class="row actions">
        {running ? (
          <button type="button" class="primary" onClick={onStop}>
            Stop
          </button>
        ) : (
          <button type="submit" class="primary" disabled={isEmpty}>
            {compares ? "Compare" : "Ask"}
          </button>
        )}
        <span class="quiet hint">Ctrl + Enter</span>
      </div>
    </form>
  );
}

function optionsTitle(form: Form): string {
  const set = Object.values(form.options).filter(Boolean).length + form.checks.length;
  return set ? `Search options and checks (${set} set)` : "Search options and checks";
}

interface BudgetProps {
  budget: number;
  label: string;
  onChange: (budget: number) => void;
}

export function BudgetSlider({ budget, label, onChange }: BudgetProps) {
  const place = STEPS.findLastIndex((step) => step <= budget);
  const nodes = budget === 1 ? "1 node" : `${budget} nodes`;
  return (
    <div class="field budget">
      <span aria-hidden="true">{label}</span>
      <div class="row">
        <input
          type="range"
          min="0"
          max={STEPS.length - 1}
          value={place}
          aria-label={label}
          aria-valuetext={budget ? nodes : "no search"}
          onInput={(event) => onChange(STEPS[event.currentTarget.valueAsNumber] ?? 0)}
        />
        <input
          type="number"
          min="0"
          value={budget}
          aria-label={`${label}, exactly`}
          onInput={(event) => onChange(Math.max(0, Math.round(event.currentTarget.valueAsNumber) || 0))}
        />
      </div>
    </div>
  );
}

function Conversation({ turns, onChange }: { turns: Turn[]; onChange: (turns: Turn[]) => void }) {
  const change = (index: number, part: Partial<Turn>) =>
    onChange(turns.map((turn, at) => (at === index ? { ...turn, ...part } : turn)));
  const isPrompt = turns.length === 1 && turns[0]!.role === "user";
  return (
    <div class="conversation">
      {turns.map((turn, index) => (
        <div class="turn" key={index}>
          {!isPrompt && (
            <div class="row">
              <select
                aria-label={`Role of message ${index + 1}`}
                value={turn.role}
                onChange={(event) => change(index, { role: event.currentTarget.value as Turn["role"] })}
              >
                <option>system</option>
                <option>user</option>
                <option>assistant</option>
              </select>
              <button type="button" class="ghost" aria-label={`Remove message ${index + 1}`} disabled={turns.length === 1} onClick={() => onChange(turns.filter((_, at) => at !== index))}>
                Remove
              </button>
            </div>
          )}
          <textarea
            aria-label={isPrompt ? "Prompt" : `Message ${index + 1}`}
            placeholder={isPrompt ? "Ask something with requirements that can be judged" : ""}
            rows={isPrompt ? 4 : 3}
            value={turn.content}
            onInput={(event) => change(index, { content: event.currentTarget.value })}
          />
        </div>
      ))}
      <button type="button" class="ghost" onClick={() => onChange([...turns, { role: turns.at(-1)?.role === "user" ? "assistant" : "user", content: "" }])}>
        Add a message
      </button>
    </div>
  );
}

interface OptionProps {
  options: Options;
  offer: Offer;
  compares: boolean;
  onChange: (part: Partial<Options>) => void;
}

function OptionFields({ options, offer, compares, onChange }: OptionProps) {
  const number = (name: keyof Options, label: string, least: number, most?: number, step: number | "any" = 1) => (
    <label class="field">
      <span>{label}</span>
      <input
        type="number"
        min={least}
        max={most}
        step={step}
        placeholder="default"
        value={options[name]}
        onInput={(event) => onChange({ [name]: event.currentTarget.value })}
      />
    </label>
  );
  const choice = (name: keyof Options, label: string, choices: readonly (readonly [string, string])[]) => (
    <label class="field">
      <span>{label}</span>
      <select value={options[name]} onChange={(event) => onChange({ [name]: event.currentTarget.value })}>
        <option value="">default</option>
        {choices.map(([value, text]) => (
          <option key={value} value={value}>
            {text}
          </option>
        ))}
      </select>
    </label>
  );
  return (
    <div class="options">
      {!compares && choice("algorithm", "Algorithm", titledAlgorithms(offer))}
      {choice("judge", "Judge", [["holistic", "Whole answer"], ["checklist", "Checklist"]])}
      {number("votes", "Votes", 1, 25)}
      {number("branch", "Branch", 1, 16)}
      {number("beam", "Beam", 1, 16)}
      {number("max_depth", "Depth", 1, 16)}
      {number("threshold", "Threshold", 0, 0.99, "any")}
      {choice("stop", "On acceptance", [["first", "Stop at once"], ["level", "Finish the level"]])}
      {choice("early_vote_stop", "Early vote stop", [["on", "On"], ["off", "Off"]])}
      {number("max_search_tokens", "Search tokens", 8)}
      {number("deadline_s", "Deadline, s", 0.1, undefined, "any")}
      {number("temperature", "Temperature", 0, 2, "any")}
      {number("max_tokens", "Answer tokens", 1)}
      {number("seed", "Seed", 0)}
      <label class="field all">
        <span>Requirements, one per line (for the checklist judge)</span>
        <textarea rows={2} value={options.requirements} onInput={(event) => onChange({ requirements: event.currentTarget.value })} />
      </label>
    </div>
  );
}
