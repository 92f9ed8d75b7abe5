/** What the server offers: models, algorithms and checks, those of installed packages included, and traces. */
import { useEffect, useState } from "preact/hooks";
import type { CheckType } from "../../../typescript/src/index.js";
import { client } from "../server";

export interface Offer {
  models: readonly string[];
  algorithms: readonly string[];
  checks: readonly CheckType[];
  /** Whether it stores searches. */
  traces: boolean;
}

const NOTHING: Offer = { models: [], algorithms: [], checks: [], traces: false };

const TITLES: Readonly<Record<string, string>> = {
  bfs: "Breadth first",
  dfs: "Depth first",
  best_first: "Best first",
  iterative: "Iterative",
  best_of_n: "Best of n",
};

/** Pairs of an algorithm's name and what a person calls it, for a `<select>`. */
export function titledAlgorithms(offer: Offer): [string, string][] {
  return offer.algorithms.map((name) => [name, TITLES[name] ?? name]);
}

/** Ask the server, again whenever `keyed` changes. */
export function useOffer(keyed: number, onError: (error: unknown) => void): Offer {
  const [offer, setOffer] = useState(NOTHING);
  useEffect(() => {
    const server = client();
    const traces = server.traces.list({ limit: 1 }).then(
      () => true,
      () => false,
    );
    Promise.all([server.models(), server.algorithms(), server.checks(), traces])
      .then(([models, algorithms, checks, traces]) =>
        setOffer({ models: models.map(({ id }) => id), algorithms: algorithms.map(({ id }) => id), checks, traces }),
      )
      .catch(onError);
  }, [keyed]);
  return offer;
}
