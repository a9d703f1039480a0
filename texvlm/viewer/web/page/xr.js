// The picture on a screen in an immersive session; where the wearer looks or points moves the fixation.

const SCREEN = { width: 2.4, distance: 2.0 }; // metres; 62 degrees across, about the field of view that is assumed
const MODE = "tokens";
const MARK = 0.012; // half the side of the mark where the ray meets the screen, metres

// Rays that may be the wearer's eyes first; a hand or a controller points where there are none.
const RANK = ["gaze", "transient-pointer", "tracked-pointer"];

// The input source to follow, or null where the head must do.
export function chooseSource(sources) {
  const ranked = [...sources].filter((source) => RANK.includes(source.targetRayMode));
  ranked.sort((a, b) => RANK.indexOf(a.targetRayMode) - RANK.indexOf(b.targetRayMode));
  return ranked[0] ?? null;
}

// Where a ray (a column-major matrix; it looks along -z) meets the screen, (u, v) with v down; null where it does not.
export function hitScreen(matrix, screen) {
  const [dx, dy, dz] = [-matrix[8], -matrix[9], -matrix[10]], [x, y, z] = [matrix[12], matrix[13], matrix[14]];
  const along = (-screen.distance - z) / dz;
  if (!(along > 0) || !isFinite(along)) return null;
  const u = (x + along * dx) / screen.width + 0.5, v = 0.5 - (y + along * dy) / screen.height;
  return u >= 0 && u <= 1 && v >= 0 && v <= 1 ? [u, v] : null;
}

const VERTEX = `
attribute vec2 corner;            // -1..1
uniform mat4 projection, eye;
uniform vec4 box;                 // centre x, y, half width, half height, metres
uniform float depth;
varying vec2 place;
void main() {
  place = vec2(0.5 + 0.5 * corner.x, 0.5 - 0.5 * corner.y);
  gl_Position = projection * eye * vec4(box.xy + corner * box.zw, depth, 1.0);
}`;
const FRAGMENT = `
precision mediump float;
uniform sampler2D picture;
uniform float mark;
varying vec2 place;
void main() {
  if (mark > 0.5) {
    float away = length(place - 0.5) * 2.0;
    if (away > 1.0 || (away > 0.25 && away < 0.7)) discard;
    gl_FragColor = vec4(1.0);
  } else gl_FragColor = vec4(texture2D(picture, place).rgb, 1.0);
}`;

export class XrView {
  constructor(view, button, why) {
    Object.assign(this, { view, button, why, session: null, frames: 0, uploads: 0, source: null, hit: null });
    button.addEventListener("click", () => this.toggle().catch((error) => this.tell(error.message)));
    this.look();
    navigator.xr?.addEventListener?.("devicechange", () => this.look());
  }

  // Whether there is a headset: the button says so, and why not.
  async look() {
    const there = await navigator.xr?.isSessionSupported("immersive-vr").catch(() => false);
    this.button.disabled = !there;
    this.tell(there ? "" : navigator.xr ? "no headset found" : "this browser has no WebXR (it needs https or localhost)");
  }

  tell(words) {
    this.why.textContent = words;
  }

  async toggle() {
    if (this.session) return this.session.end();
    const session = await navigator.xr.requestSession("immersive-vr", { optionalFeatures: ["hand-tracking", "gaze-tracking", "eye-tracking"] });
    this.session = session;
    this.before = this.view.mode;
    session.addEventListener("end", () => this.left());
    session.addEventListener("select", () => this.nextMode());
    try {
      await this.start(session);
    } catch (error) {
      await session.end();
      throw error;
    }
  }

  async start(session) {
    const gl = (this.gl = document.createElement("canvas").getContext("webgl2", { xrCompatible: true, antialias: true }));
    if (!gl) throw new Error("no WebGL 2 here");
    this.program = build(gl);
    this.places = Object.fromEntries(["projection", "eye", "box", "depth", "picture", "mark"].map((name) => [name, gl.getUniformLocation(this.program, name)]));
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([-1, -1, 1, -1, -1, 1, 1, 1]), gl.STATIC_DRAW);
    const corner = gl.getAttribLocation(this.program, "corner");
    gl.enableVertexAttribArray(corner);
    gl.vertexAttribPointer(corner, 2, gl.FLOAT, false, 0, 0);
    this.texture = gl.createTexture();
    await session.updateRenderState({ baseLayer: new XRWebGLLayer(session, gl) });
    this.space = await session.requestReferenceSpace("local");
    this.head = await session.requestReferenceSpace("viewer");
    this.frames = this.uploads = 0;
    this.fresh = this.view.bitmap;
    this.view.onpicture = (bitmap) => { this.fresh = bitmap; };
    this.view.room = this.view.state?.size ?? null; // the headset has more pixels than the page
    this.view.setMode(MODE);
    this.button.textContent = "Leave VR";
    session.requestAnimationFrame((time, frame) => this.frame(time, frame));
  }

  left() {
    this.session = null;
    this.view.onpicture = () => {};
    this.view.room = null;
    this.view.setMode(this.before);
    this.button.textContent = "Enter VR";
    this.gl?.getExtension("WEBGL_lose_context")?.loseContext();
    this.gl = this.texture = null;
  }

  // A pinch or a trigger: squares, what the tokens show, the frame.
  nextMode() {
    const modes = ["tokens", "reconstruction", "frame"];
    this.view.setMode(modes[(modes.indexOf(this.view.mode) + 1) % modes.length]);
  }

  frame(time, frame) {
    const session = frame.session, gl = this.gl;
    if (!gl || session !== this.session) return;
    session.requestAnimationFrame((time, frame) => this.frame(time, frame));
    this.frames += 1;
    const [width, height] = this.view.state?.size ?? [16, 9];
    const screen = { ...SCREEN, height: (SCREEN.width * height) / width };
    this.follow(frame, session, screen);
    const pose = frame.getViewerPose(this.space);
    if (!pose) return;
    const layer = session.renderState.baseLayer;
    gl.bindFramebuffer(gl.FRAMEBUFFER, layer.framebuffer);
    gl.clearColor(0.05, 0.05, 0.06, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.useProgram(this.program);
    this.upload();
    for (const eye of pose.views) {
      const port = layer.getViewport(eye);
      gl.viewport(port.x, port.y, port.width, port.height);
      gl.uniformMatrix4fv(this.places.projection, false, eye.projectionMatrix);
      gl.uniformMatrix4fv(this.places.eye, false, eye.transform.inverse.matrix);
      this.box([0, 0, screen.width / 2, screen.height / 2], -screen.distance, 0);
      if (this.hit) {
        this.box([(this.hit[0] - 0.5) * screen.width, (0.5 - this.hit[1]) * screen.height, MARK, MARK], -screen.distance + 0.001, 1);
      }
    }
  }

  // Send where the ray meets the screen, when it has moved.
  follow(frame, session, screen) {
    const source = chooseSource(session.inputSources);
    const ray = frame.getPose(source ? source.targetRaySpace : this.head, this.space);
    this.source = source?.targetRayMode ?? "head";
    const hit = ray && hitScreen(ray.transform.matrix, screen);
    if (hit && (!this.hit || hit[0] !== this.hit[0] || hit[1] !== this.hit[1])) this.view.point(...hit);
    this.hit = hit;
  }

  upload() {
    const gl = this.gl;
    gl.bindTexture(gl.TEXTURE_2D, this.texture);
    if (!this.fresh) return;
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, this.fresh);
    this.fresh = null;
    this.uploads += 1;
    gl.generateMipmap(gl.TEXTURE_2D); // thin lines, seen from afar
    const sampling = { WRAP_S: "CLAMP_TO_EDGE", WRAP_T: "CLAMP_TO_EDGE", MIN_FILTER: "LINEAR_MIPMAP_LINEAR", MAG_FILTER: "LINEAR" };
    for (const [name, value] of Object.entries(sampling)) gl.texParameteri(gl.TEXTURE_2D, gl[`TEXTURE_${name}`], gl[value]);
  }

  box(box, depth, mark) {
    const gl = this.gl;
    gl.uniform4fv(this.places.box, box);
    gl.uniform1f(this.places.depth, depth);
    gl.uniform1f(this.places.mark, mark);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
  }
}

function build(gl) {
  const program = gl.createProgram();
  for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(`shader: ${gl.getProgramInfoLog(program)}`);
  return program;
}
