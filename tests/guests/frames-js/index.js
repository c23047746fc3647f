// Says what it saw of frames, by a header; drops and refuses those that ask for it.

import { Failure, frameExtension } from "postern";

frameExtension(
  class Frames {
    count = 0;
    shouldHandle({ kind, direction }) {
      return kind === "data" && direction === "inbound";
    }
    handleFrame(frame) {
      this.count++;
      const asked = frame.header("x-ask");
      if (asked === "drop") return "drop";
      if (asked === "refuse") throw Failure.permissionDenied("not this frame");
      frame.setHeader("x-seen", `${this.count} of ${frame.payload().length}`);
      frame.addHeader("x-more", "js");
      frame.removeHeader("x-gone");
    }
  },
);
