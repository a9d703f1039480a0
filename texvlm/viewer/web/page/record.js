// What the page shows, as a film: recorded by the browser, kept nowhere but in the file that is saved.

const KINDS = ["video/webm;codecs=vp9", "video/webm;codecs=vp8", "video/webm", "video/mp4"];
const BITS_PER_S = 8e6; // thin lines stay lines
const EVERY_MS = 1000; // between pieces, so that the browser need not hold the film in one

// Hands a file over to the browser, which puts it where it keeps downloads.
export function keepFile(content, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

// Records a canvas from one press of a button to the next. `say` tells people what happened.
export class PictureRecorder {
  constructor(canvas, button, say) {
    Object.assign(this, { canvas, button, say, recorder: null });
    this.kind = KINDS.find((kind) => window.MediaRecorder?.isTypeSupported(kind)) ?? null;
    button.disabled = !this.kind;
  }

  toggle() {
    if (!this.kind) return this.say("This browser cannot record");
    if (this.recorder) return this.recorder.stop();
    const pieces = [], stream = this.canvas.captureStream();
    const recorder = (this.recorder = new MediaRecorder(stream, { mimeType: this.kind, videoBitsPerSecond: BITS_PER_S }));
    recorder.ondataavailable = (event) => pieces.push(event.data);
    recorder.onerror = (event) => this.say(`Not recorded: ${event.error?.message ?? "the encoder failed"}`);
    recorder.onstop = () => {
      this.recorder = null;
      this.button.setAttribute("aria-pressed", "false");
      stream.getTracks().forEach((track) => track.stop());
      const name = `texvlm-${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}.${this.kind.slice(6).split(";")[0]}`;
      keepFile(new Blob(pieces, { type: this.kind }), name);
      this.say(`Saved ${name}`);
    };
    recorder.start(EVERY_MS);
    this.button.setAttribute("aria-pressed", "true");
    this.say("Recording");
  }
}
