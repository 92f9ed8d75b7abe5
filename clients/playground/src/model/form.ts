/** What the form holds, and the request that it makes. */
import type { ChatOptions, RefineOptions } from "../../../typescript/src/index.js";
import type { Picked } from "../components/checks";

export interface Turn {
  role: "system" | "user" | "assistant";
  content: string;
}

/** Values as they are typed; "" is the server's default. */
export interface Options {
  algorithm: string;
  judge: string;
  votes: string;
  branch: string;
  beam: string;
  max_depth: string;
  threshold: string;
  stop: string;
  early_vote_stop: string;
  max_search_tokens: string;
  deadline_s: string;
  requirements: string;
  temperature: string;
  max_tokens: string;
  seed: string;
}

export const NO_OPTIONS: Options = {
  algorithm: "", judge: "", votes: "", branch: "", beam: "", max_depth: "", threshold: "", stop: "",
  early_vote_stop: "", max_search_tokens: "", deadline_s: "", requirements: "", temperature: "", max_tokens: "",
  seed: "",
};

export interface Form {
  turns: Turn[];
  model: string;
  budget: number;
  options: Options;
  checks: Picked[];
}

export const EXAMPLE =
  "Write three sentences about a river. Do not use commas. Include the word lamp.";

export const NEW_FORM: Form = {
  turns: [{ role: "user", content: "" }], model: "", budget: 8, options: NO_OPTIONS, checks: [],
};

const NUMBERS = ["votes", "branch", "beam", "max_depth", "threshold", "max_search_tokens", "deadline_s"] as const;

export function chatOptions(form: Form, signal: AbortSignal): ChatOptions {
  const { options } = form;
  const refine: Record<string, unknown> = {};
  for (const name of NUMBERS) if (options[name]) refine[name] = Number(options[name]);
  for (const name of ["algorithm", "judge", "stop"] as const) if (options[name]) refine[name] = options[name];
  if (options.early_vote_stop) refine["early_vote_stop"] = options.early_vote_stop === "on";
  const requirements = options.requirements.split("\n").map((line) => line.trim()).filter(Boolean);
  if (requirements.length) refine["requirements"] = requirements;
  if (form.checks.length) refine["checks"] = form.checks;
  return {
    model: form.model || undefined,
    refineBudget: form.budget,
    refine: refine as RefineOptions,
    temperature: options.temperature ? Number(options.temperature) : undefined,
    max_tokens: options.max_tokens ? Number(options.max_tokens) : undefined,
    seed: options.seed ? Number(options.seed) : undefined,
    signal,
  };
}
