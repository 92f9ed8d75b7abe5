/** Asks for the API key, which stays in this tab. */
import { useEffect, useRef } from "preact/hooks";
import { storedKey, storeKey } from "../server";

interface Props {
  open: boolean;
  /** Why it is open, if not because a person wanted it. */
  reason: "needed" | "wrong" | null;
  onDone: () => void;
  onClose: () => void;
}

export function KeyDialog({ open, reason, onDone, onClose }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (open && !dialog.current?.open) dialog.current?.showModal();
    if (!open) dialog.current?.close();
  }, [open]);
  return (
    <dialog ref={dialog} aria-labelledby="key-title" onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          storeKey(input.current?.value.trim() ?? "");
          onDone();
        }}
      >
        <h2 id="key-title">API key</h2>
        {reason === "wrong" && (
          <p class="problem" role="alert">
            The server does not know this key.
          </p>
        )}
        <p class="quiet">{reason === "needed" && "This server asks for a key. "}It is sent to this server only, and kept until you close this tab.</p>
        <label class="field">
          <span>Key</span>
          <input ref={input} type="password" autocomplete="off" defaultValue={storedKey()} />
        </label>
        <div class="row actions">
          <button type="submit" class="primary">
            Use key
          </button>
          <button type="button" class="ghost" onClick={onClose}>
            Cancel
          </button>
        </div>
      </form>
    </dialog>
  );
}
