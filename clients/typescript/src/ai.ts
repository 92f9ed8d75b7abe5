/**
 * A provider for Vercel's AI SDK, which needs its packages `ai`, `@ai-sdk/provider` and `@ai-sdk/openai-compatible`.
 *
 *     import { generateText } from "ai";
 *     import { spar } from "spar-client/ai";
 *
 *     const { text, providerMetadata } = await generateText({
 *       model: spar("spar-135m"),
 *       prompt: "Write about rivers without commas.",
 *       providerOptions: { spar: { refineBudget: 8 } },
 *     });
 *     console.log(text, providerMetadata.spar.refinement.stop_reason);
 */

import { createOpenAICompatible, OpenAICompatibleChatLanguageModel } from "@ai-sdk/openai-compatible";
import {
  APICallError,
  type EmbeddingModelV4,
  type JSONObject,
  type LanguageModelV4,
  type LanguageModelV4CallOptions,
  type LanguageModelV4GenerateResult,
  type LanguageModelV4StreamPart,
  type LanguageModelV4StreamResult,
  NoSuchModelError,
  type ProviderV4,
} from "@ai-sdk/provider";
import { streamError } from "./errors.js";
import { readSearchEvent, type SearchEvent } from "./events.js";
import { apiUrl, authorization } from "./http.js";
import type { ChatUsage, Checklist, ChunkSpar, Refinement, SearchTree } from "./openapi.js";
import type { RefineOptions } from "./options.js";

/** Options of the provider. What is left out comes from the environment, as in `Client`. */
export interface SparSettings {
  /** The server's address, with or without `/v1`. */
  baseURL?: string | undefined;
  apiKey?: string | undefined;
  /** Further headers of each request. */
  headers?: Readonly<Record<string, string>> | undefined;
  fetch?: typeof fetch | undefined;
}

/** `providerOptions.spar` of a call. Any other field goes into the request's body. */
export type SparOptions = {
  /** The most nodes that the search may expand; 0 is the actor's answer, unrefined. */
  refineBudget?: number;
  refine?: Omit<RefineOptions, "checks"> & { checks?: { id: string; kwargs?: JSONObject }[] };
  /**
   * How a stream shows its search: as reasoning, the default; as parts `custom` of the kind `spar.event`, whose event
   * `searchEvent` returns; or not at all.
   */
  progress?: "reasoning" | "events" | "none";
};

/** `providerMetadata.spar` of a result. */
export type SparMetadata = {
  /** What the search did and what it cost. */
  refinement: Refinement;
  traceId: string;
  degraded: boolean;
  checklist?: Checklist;
  /** The search, if `refine.trace` requested it. */
  tree?: SearchTree;
};

export interface SparProvider extends ProviderV4 {
  (modelId: string): LanguageModelV4;
  chat(modelId: string): LanguageModelV4;
}

const NAME = "spar";
const EVENT = `${NAME}.event`;

/** A provider for one server. */
export function createSpar(settings: SparSettings = {}): SparProvider {
  const headers = () => ({ ...authorization(settings.apiKey), ...settings.headers });
  const languageModel = (modelId: string) => new SparChatModel(modelId, settings, headers);
  // Embeddings have nothing of this server's own.
  const embeddingModel = (modelId: string): EmbeddingModelV4 =>
    createOpenAICompatible({
      name: NAME,
      baseURL: apiUrl(settings.baseURL),
      headers: headers(),
      ...(settings.fetch && { fetch: settings.fetch }),
    }).embeddingModel(modelId);
  const imageModel = (modelId: string) => {
    throw new NoSuchModelError({ modelId, modelType: "imageModel" });
  };
  const models = { languageModel, chat: languageModel, embeddingModel, imageModel };
  return Object.assign(languageModel, { specificationVersion: "v4" as const, ...models });
}

/** The provider for the server at SPAR_URL, else http://127.0.0.1:8000. */
export const spar: SparProvider = createSpar();

/** The step of a search that a part of `fullStream` or of a UI message has; undefined for other parts. */
export function searchEvent(part: { type: string }): SearchEvent | undefined {
  const { type, kind, providerMetadata } = part as CustomPart;
  return type === "custom" && kind === EVENT ? providerMetadata?.[NAME]?.["event"] : undefined;
}

interface CustomPart {
  type: string;
  kind?: string;
  providerMetadata?: Record<string, { event?: SearchEvent }>;
}

class SparChatModel extends OpenAICompatibleChatLanguageModel {
  constructor(modelId: string, settings: SparSettings, headers: () => Record<string, string>) {
    super(modelId, {
      provider: `${NAME}.chat`,
      url: ({ path }) => `${apiUrl(settings.baseURL)}${path}`,
      headers,
      includeUsage: true,
      supportsStructuredOutputs: true,
      transformRequestBody: requestBody,
      metadataExtractor: {
        extractMetadata: async ({ parsedBody }) => metadataOf(parsedBody as Described),
        createStreamExtractor: () => {
          const found: Described = {};
          return {
            processChunk: (chunk) => collect(found, chunk as Described),
            buildMetadata: () => metadataOf(found),
          };
        },
      },
      ...(settings.fetch && { fetch: settings.fetch }),
    });
  }

  override async doGenerate(options: LanguageModelV4CallOptions): Promise<LanguageModelV4GenerateResult> {
    return retriedAsAsked(() => super.doGenerate(options));
  }

  override async doStream(options: LanguageModelV4CallOptions): Promise<LanguageModelV4StreamResult> {
    const result = await retriedAsAsked(() => super.doStream({ ...options, includeRawChunks: true }));
    const keepsRaw = options.includeRawChunks ?? false;
    return { ...result, stream: result.stream.pipeThrough(searchParts(keepsRaw)) };
  }
}

type Described = { usage?: Partial<ChatUsage> | null; spar?: ChunkSpar | null };

function requestBody(body: Record<string, unknown>): Record<string, unknown> {
  const { refineBudget, progress, refine, ...rest } = body as SparOptions & Record<string, unknown>;
  const shown = progress && { progress: progress === "reasoning", events: progress === "events" };
  return {
    ...rest,
    ...(refineBudget !== undefined && { refine_budget: refineBudget }),
    ...((refine || shown) && { refine: { ...shown, ...refine } }),
  };
}

function collect(found: Described, chunk: Described): void {
  if (chunk.usage) found.usage = chunk.usage;
  if (chunk.spar && !chunk.spar.event) found.spar = chunk.spar;
}

function metadataOf({ usage, spar }: Described) {
  const { trace_id: traceId, degraded, checklist, tree, trees } = spar ?? {};
  const shown = { refinement: usage?.refinement, traceId, degraded, checklist, tree: tree ?? trees?.[0] };
  // Only JSON is allowed here.
  return { [NAME]: JSON.parse(JSON.stringify(shown)) };
}

/** Turns the steps of a search, which only raw chunks have, into parts of their own. */
function searchParts(keepsRaw: boolean): TransformStream<LanguageModelV4StreamPart, LanguageModelV4StreamPart> {
  return new TransformStream({
    transform(part, controller) {
      if (part.type === "raw") {
        const data = (part.rawValue as Described | null)?.spar?.event;
        const event = data && readSearchEvent(data);
        if (event)
          controller.enqueue({
            type: "custom",
            kind: EVENT,
            providerMetadata: { [NAME]: { event: event as unknown as JSONObject } },
          });
        if (keepsRaw) controller.enqueue(part);
      } else if (part.type === "error" && !(part.error instanceof Error)) {
        controller.enqueue({ type: "error", error: streamError({ error: part.error }) });
      } else {
        controller.enqueue(part);
      }
    },
  });
}

/** A failure after the search has spent its budget is not worth a second one; the server says so by a header. */
async function retriedAsAsked<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (APICallError.isInstance(error) && error.responseHeaders?.["x-should-retry"] === "false") {
      throw new APICallError({ ...error, message: error.message, cause: error, isRetryable: false });
    }
    throw error;
  }
}
