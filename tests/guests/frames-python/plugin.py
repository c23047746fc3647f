"""Says what it saw of frames, by a header; drops and refuses those that ask for it."""

from postern import Frame, FrameHead, PermissionDenied, Verdict, frame_extension


@frame_extension
class Frames:
    def __init__(self) -> None:
        self.count = 0

    def should_handle(self, head: FrameHead) -> bool:
        return head.kind == "data" and head.direction == "inbound"

    def handle_frame(self, frame: Frame) -> Verdict | None:
        self.count += 1
        asked = frame.header("x-ask")
        if asked == "drop":
            return Verdict.DROP
        if asked == "refuse":
            raise PermissionDenied("not this frame")
        frame.set_header("x-seen", f"{self.count} of {len(frame.payload())}")
        frame.add_header("x-more", "python")
        frame.remove_header("x-gone")
        return None
