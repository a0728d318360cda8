"""People, cameras and trails as capsules: the one scene that pictures and the browser draw.

A joint is a ball, a bone a capsule. Where a joint comes from shows without colour: triangulated ones are
full balls with full bones, lifted ones small balls with thin bones, interpolated ones octahedra with
dashed bones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mocap.types import Source, Trajectories3D
from mocap.viewer.certainty import certainty_colours, standard_deviation
from mocap.viewer.scene import Lines, bones_of, joint_sizes, person_tones
from mocap.viewer.settings import Colouring, ViewSettings

Array = NDArray[np.float64]

_DASHES = 4
# By source: missing, triangulated, lifted, interpolated.
_BALL = np.array([0.0, 1.0, 0.62, 1.05])
_THIN = 0.4
_COMPARED = 0.28


@dataclass(frozen=True, eq=False)
class Capsules:
    """Balls swept along segments; a ball where both ends are equal.

    Attributes
    ----------
    start, end : float64 [N, 3], metres, world
    radius : float64 [N], metres
        0: a line of one pixel.
    colours : float64 [N, 3], 0..1
    angular : bool [N]
        Octahedra instead of balls.
    lit : bool [N]
        Whether lamps change their colour.
    """

    start: Array
    end: Array
    radius: Array
    colours: Array
    angular: NDArray[np.bool_]
    lit: NDArray[np.bool_]

    @staticmethod
    def of_lines(lines: Lines, radius: float = 0.0) -> Capsules:
        """Lines as thin capsules."""
        a, b = (lines.points[lines.segments[:, i]].reshape(-1, 3) for i in (0, 1))
        no = np.zeros(len(a), bool)
        return Capsules(a, b, np.full(len(a), radius), lines.colours.reshape(-1, 3), no, no)

    @staticmethod
    def together(parts: list[Capsules]) -> Capsules:
        """All capsules of several."""
        return Capsules(
            *(np.concatenate([getattr(p, n) for p in parts]) for n in ("start", "end", "radius", "colours")),
            *(np.concatenate([getattr(p, n) for p in parts]) for n in ("angular", "lit")),
        )

    def there(self) -> Capsules:
        """Those that have a radius."""
        k = self.radius > 0
        return Capsules(self.start[k], self.end[k], self.radius[k], self.colours[k], self.angular[k], self.lit[k])


class People:
    """The people of a result as capsules.

    Parameters
    ----------
    person_ids : int [P]
    joint_names : tuple of str
    settings : ViewSettings
    """

    def __init__(self, person_ids: NDArray[np.int64], joint_names: tuple[str, ...], settings: ViewSettings) -> None:
        self.bones = bones_of(joint_names)
        self.person_ids, self.n_joints = person_ids, len(joint_names)
        self._tones = person_tones(person_ids, joint_names)
        self._sizes = settings.joint_radius_m * joint_sizes(joint_names)
        self._by_certainty = settings.colour is Colouring.CERTAINTY
        sizes = joint_sizes(joint_names)[self.bones]
        self._widths = settings.bone_radius_m * np.sqrt(sizes.min(-1))

    @staticmethod
    def compared(person_ids: NDArray[np.int64], joint_names: tuple[str, ...], settings: ViewSettings) -> People:
        """People of a second result: dark grey and slender, so that the first shows round them."""
        slender = replace(
            settings, joint_radius_m=0.5 * settings.joint_radius_m, bone_radius_m=0.3 * settings.bone_radius_m,
            colour=Colouring.PERSON,
        )  # fmt: skip
        people = People(person_ids, joint_names, slender)
        people._tones = np.full_like(people._tones, _COMPARED)
        return people

    def balls(self, result: Trajectories3D, t: int) -> Capsules:
        """One ball per person and joint [P*J] at row `t`; of radius 0 and at the origin where missing."""
        source = result.source[t]
        centre = np.nan_to_num(result.positions[t].astype(np.float64)).reshape(-1, 3)
        radius = (_BALL[source] * self._sizes).ravel()
        angular = (source == Source.INTERPOLATED).ravel()
        colours = self.colours(result, t).reshape(-1, 3)
        return Capsules(centre, centre, radius, colours, angular, np.ones(len(centre), bool))

    def tubes(self, result: Trajectories3D, t: int) -> Capsules:
        """Four capsules per person and bone [P*B*4] at row `t`: dashes, or the first whole; radius 0 where unused."""
        a, b = self.bones[:, 0], self.bones[:, 1]
        sources = np.stack([result.source[t][:, a], result.source[t][:, b]])  # [2, P, B]
        start, end = (np.nan_to_num(result.positions[t][:, i].astype(np.float64)) for i in (a, b))
        there = (sources != Source.MISSING).all(0)
        radius = np.where((sources == Source.LIFTED).any(0), _THIN, 1.0) * there * self._widths
        dashed = (sources == Source.INTERPOLATED).any(0)[..., None]
        k = np.arange(_DASHES)
        first = np.where(dashed, k / (_DASHES - 0.5), 0.0)[..., None]
        last = np.where(dashed, (k + 0.45) / (_DASHES - 0.5), 1.0)[..., None]
        used = radius[..., None] * (dashed | (k == 0))
        along = (end - start)[:, :, None]
        colours = np.repeat(self.colours(result, t)[:, b].reshape(-1, 3), _DASHES, 0)
        a, b = ((start[:, :, None] + s * along).reshape(-1, 3) for s in (first, last))
        n = len(colours)
        return Capsules(a, b, used.ravel(), colours, np.zeros(n, bool), np.ones(n, bool))

    def capsules(self, result: Trajectories3D, t: int) -> Capsules:
        """What is there at row `t`."""
        return Capsules.together([self.tubes(result, t), self.balls(result, t)]).there()

    def colours(self, result: Trajectories3D, t: int) -> Array:
        """Colours [P, J, 3] at row `t`: the person's, or of the scale of certainty."""
        return certainty_colours(standard_deviation(result, t)) if self._by_certainty else self._tones
