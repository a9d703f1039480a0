"""One policy for each source: the owner of what policies remember."""

from __future__ import annotations

from collections.abc import Callable

from texvlm.errors import LookError
from texvlm.fixation.look import Look, LookPolicy
from texvlm.fixation.scene import Scene


class Looker:
    """Asks the policy of each source where to look, and keeps sources apart.

        looker = Looker(lambda: Saccades(Saliency()))
        look = looker.look(scene_of(engine, source, time_s=frame.pts, report=report))
        batch = engine.tokens(**engine_arguments([look]), sources=[source])

    A policy that fails is dropped, and its source begins with a new one: nothing that it left
    half-done is used again, and other sources never notice.

    Args:
        make: gives a new policy; called once a source, and again after `reset` or a failure.
    """

    def __init__(self, make: Callable[[], LookPolicy]) -> None:
        self._make = make
        self._policies: dict[int, LookPolicy] = {}

    def look(self, scene: Scene) -> Look:
        """Where to look in a source's next frame.

        Raises:
            LookError: the policy raised, or gave what is no look; names it and the source. The next
                frame of this source begins anew.
        """
        policy = self._policies.pop(scene.source, None)
        try:
            policy = self._make() if policy is None else policy
            look = policy.look(scene)
            _check(look, policy.count)
        except Exception as error:
            name = getattr(policy, "name", None) or getattr(self._make, "__name__", "that could not be made")
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise LookError(
                f"look policy {name!s} failed on source {scene.source}: {reason}; mend it or choose another (this "
                "source begins anew, others are untouched)"
            ) from error
        self._policies[scene.source] = policy
        return look

    def reset(self, source: int | None = None) -> None:
        """Forget a source, which begins anew with its next frame; None for all."""
        if source is None:
            self._policies.clear()
        else:
            self._policies.pop(source, None)


def _check(look: object, count: int | None) -> None:
    """TypeError or ValueError unless an answer is a look of the promised kind."""
    if not isinstance(look, Look):
        raise TypeError(f"it answered with {type(look).__name__}; accepted: a texvlm.fixation.Look")
    if count is None and look.score is None:
        raise ValueError("it promised a score map (count is None) and gave none")
    if count is not None and len(look.fixations) != count:
        raise ValueError(f"it promised {count} fixations and gave {len(look.fixations)}")
