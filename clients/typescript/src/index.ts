/**
 * Typed client for SPaR Server.
 *
 *     import { Client } from "spar-client";
 *
 *     const client = new Client();
 *     const answer = await client.chat("Tell me about the river without commas.", { refineBudget: 8 });
 *     console.log(answer.text, answer.refinement.stop_reason);
 */

export { Client } from "./client.js";
export { Completion } from "./completion.js";
export * from "./errors.js";
export type * from "./events.js";
export type { ClientOptions, RequestOptions } from "./http.js";
export type {
  Algorithm,
  AnswerMessage,
  ChatUsage,
  CheckBody as CheckResult,
  Checklist,
  ChecklistItem,
  CheckRequest as Check,
  CheckType,
  Choice,
  FeedbackBody as Feedback,
  JudgementBody as Judgement,
  Model,
  NodeJudgement,
  NodeVote,
  Refinement,
  SearchTree,
  Tokens,
  ToolCall,
  Trace,
  TraceList,
  TraceSummary,
  TreeNode,
  VoteBody as Vote,
} from "./openapi.js";
export type {
  ChatOptions,
  ImproveOptions,
  JudgeOptions,
  Message,
  Messages,
  RefineOptions,
  TraceFilter,
} from "./options.js";
export { Stream } from "./streaming.js";
export type { Traces } from "./traces.js";
