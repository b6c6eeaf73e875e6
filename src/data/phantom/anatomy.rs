//! The hand: bones, flesh and landmarks in millimetres, x towards the little finger, y towards the fingertips,
//! the origin in the middle of the carpus. Lengths and widths are of the order of published adult means.
//!
//! A bone is a union of pieces, each a solid whose projection has a closed form. Tubular bones are solids of
//! revolution about an axis in the image plane; a ray that passes the axis at distance `v` crosses a disc of
//! radius `w` over a chord `2 sqrt(w^2 - v^2)`. An inner solid, thinner by the cortex, is the marrow: outer minus
//! inner chord is what the ray sees of dense bone, which is why shafts show bright edges, as in a radiograph.

use super::{Draw, LANDMARK_COUNT};

/// A point or a direction, in millimetres in the frame of the hand.
pub(super) type Point = [f64; 2];

/// A hand in some pose.
pub(super) struct Hand {
    pub bones: Vec<Bone>,
    pub flesh: Vec<Capsule>,
    /// In the order of [`super::LANDMARKS`].
    pub landmarks: [Point; LANDMARK_COUNT],
}

/// The union of pieces that overlap without a seam (a shaft and its styloid process).
pub(super) struct Bone {
    pub pieces: Vec<Piece>,
}

/// A solid with a closed-form projection.
pub(super) enum Piece {
    Shaft(Shaft),
    Pebble(Pebble),
}

/// Chords, in millimetres, of one ray through a solid and through the cavity inside its cortex.
#[derive(Clone, Copy)]
pub(super) struct Chords {
    pub outer: f64,
    pub inner: f64,
    /// The inner chord less what is fatty marrow: the length through spongy bone, which fills the ends.
    pub spongy: f64,
}

impl Chords {
    /// What a ray that misses has.
    pub const NONE: Chords = Chords { outer: 0.0, inner: 0.0, spongy: 0.0 };

    /// The chords of a union of solids that share an axis' plane.
    pub fn union(self, other: Chords) -> Chords {
        Chords {
            outer: self.outer.max(other.outer),
            inner: self.inner.max(other.inner),
            spongy: self.spongy.max(other.spongy),
        }
    }

    /// Chords through solids `depth` times as deep, along the ray, as they are wide.
    fn deepened(self, depth: f64) -> Chords {
        Chords { outer: self.outer * depth, inner: self.inner * depth, spongy: self.spongy * depth }
    }
}

/// A tubular bone from `start` (proximal, "base") to `end` (distal, "head"), wider at its ends.
pub(super) struct Shaft {
    start: Point,
    axis: Point,
    length: f64,
    /// Half widths at the base, in the middle and at the head.
    half_widths: [f64; 3],
    /// Lengths over which the base and the head round off: short is flat, a half width is a hemisphere.
    caps: [f64; 2],
    /// Lengths over which the base and the head narrow to the waist.
    flares: [f64; 2],
    /// How far the middle of the axis bows sideways.
    bow: f64,
    /// Thickness of the cortex in the middle of the shaft; the ends have a third of it.
    cortex: f64,
    /// Depth along the ray over width across it: forearm bones are flat, their small processes stout.
    depth: f64,
}

impl Shaft {
    fn new(start: Point, end: Point, half_widths: [f64; 3], caps: [f64; 2]) -> Self {
        let offset = [end[0] - start[0], end[1] - start[1]];
        let length = offset[0].hypot(offset[1]);
        let axis = [offset[0] / length, offset[1] / length];
        let flares = [0.5 * length, 0.42 * length];
        Self { start, axis, length, half_widths, caps, flares, bow: 0.0, cortex: 0.42 * half_widths[1], depth: 1.0 }
    }

    /// The largest distance of any point of the solid from its axis.
    fn reach(&self) -> f64 {
        self.half_widths.iter().fold(0.0f64, |widest, &w| widest.max(w)) + self.bow.abs()
    }

    fn chords(&self, p: Point) -> Chords {
        let offset = [p[0] - self.start[0], p[1] - self.start[1]];
        let t = offset[0] * self.axis[0] + offset[1] * self.axis[1];
        let from_end = self.length - t;
        if t <= 0.0 || from_end <= 0.0 {
            return Chords::NONE;
        }
        let middle = 4.0 * t * from_end / (self.length * self.length);
        let v = offset[1] * self.axis[0] - offset[0] * self.axis[1] - self.bow * middle;
        let [base, waist, head] = self.half_widths;
        if v.abs() >= base.max(waist).max(head) {
            return Chords::NONE;
        }
        let width =
            waist + (base - waist) * fade(t / self.flares[0]) + (head - waist) * fade(from_end / self.flares[1]);
        let outer = chord(width * self.cap(t, from_end), v);
        if outer == 0.0 {
            return Chords::NONE;
        }
        let thin = self.cortex / 3.0;
        let cortex = thin + (self.cortex - thin) * middle;
        let inner = if t <= thin || from_end <= thin {
            0.0
        } else {
            chord((width - cortex).max(0.0) * self.cap(t - thin, from_end - thin), v)
        };
        Chords { outer, inner, spongy: inner * (1.0 - 0.55 * middle) }.deepened(self.depth)
    }

    /// The factor by which the ends narrow the solid: a superellipse at the base, which is rather flat, and an
    /// ellipse at the head.
    fn cap(&self, t: f64, from_end: f64) -> f64 {
        let base = (1.0 - t / self.caps[0]).max(0.0);
        let head = (1.0 - from_end / self.caps[1]).max(0.0);
        (1.0 - base * base * base * base).sqrt() * (1.0 - head * head).sqrt()
    }
}

/// A small rounded bone: an ellipsoid whose outline is modulated by a second and a third harmonic.
pub(super) struct Pebble {
    centre: Point,
    semi_axes: [f64; 2],
    /// Cosine and sine of the angle of the first semi-axis.
    turn: [f64; 2],
    /// Amplitudes of cos 2a, sin 2a, cos 3a and sin 3a in the outline's radius.
    harmonics: [f64; 4],
}

impl Pebble {
    fn reach(&self) -> f64 {
        let swell: f64 = self.harmonics.iter().map(|h| h.abs()).sum();
        self.semi_axes[0].max(self.semi_axes[1]) * (1.0 + swell)
    }

    fn chords(&self, p: Point) -> Chords {
        let [dx, dy] = [p[0] - self.centre[0], p[1] - self.centre[1]];
        let [c, s] = self.turn;
        let x = (c * dx + s * dy) / self.semi_axes[0];
        let y = (c * dy - s * dx) / self.semi_axes[1];
        let r = x.hypot(y).max(1e-9);
        // Multiple angles by powers of the unit vector: cos 2a + i sin 2a = (cos a + i sin a)^2, and so on.
        let [x1, y1] = [x / r, y / r];
        let [x2, y2] = [x1 * x1 - y1 * y1, 2.0 * x1 * y1];
        let [x3, y3] = [x2 * x1 - y2 * y1, x2 * y1 + y2 * x1];
        let [h0, h1, h2, h3] = self.harmonics;
        let outline = 1.0 + h0 * x2 + h1 * y2 + h2 * x3 + h3 * y3;
        let depth = self.semi_axes[0].min(self.semi_axes[1]);
        let shell = 0.8 / depth;
        let outer = chord(1.0, r / outline);
        let inner = chord((1.0 - shell).max(0.0), r / outline);
        Chords { outer, inner, spongy: inner }.deepened(depth)
    }
}

impl Piece {
    /// Chords of the ray through `p`.
    pub fn chords(&self, p: Point) -> Chords {
        match self {
            Piece::Shaft(shaft) => shaft.chords(p),
            Piece::Pebble(pebble) => pebble.chords(p),
        }
    }

    /// A segment and a radius around it that hold the piece.
    pub fn bounds(&self) -> (Point, Point, f64) {
        match self {
            Piece::Shaft(s) => (s.start, along(s.start, s.axis, s.length), s.reach()),
            Piece::Pebble(p) => (p.centre, p.centre, p.reach()),
        }
    }
}

/// A segment thickened by a radius that changes linearly along it.
pub(super) struct Capsule {
    start: Point,
    offset: Point,
    /// One over the segment's squared length: every pixel asks for it.
    inverse_square: f64,
    radius: f64,
    widening: f64,
    /// A circle that holds the capsule.
    middle: Point,
    reach: f64,
}

impl Capsule {
    /// `radii` are those at the start and at the end.
    pub fn new(start: Point, end: Point, radii: [f64; 2]) -> Self {
        let offset = [end[0] - start[0], end[1] - start[1]];
        let square = (offset[0] * offset[0] + offset[1] * offset[1]).max(1e-12);
        Self {
            start,
            offset,
            inverse_square: 1.0 / square,
            radius: radii[0],
            widening: radii[1] - radii[0],
            middle: along(start, offset, 0.5),
            reach: 0.5 * square.sqrt() + radii[0].max(radii[1]),
        }
    }

    /// False where [`Self::distance`] is certainly above `limit`: a cheap test that spares most capsules.
    pub fn may_be_within(&self, p: Point, limit: f64) -> bool {
        let [x, y] = [p[0] - self.middle[0], p[1] - self.middle[1]];
        let reach = self.reach + limit;
        x * x + y * y < reach * reach
    }

    /// Signed distance, negative inside (slightly off where the radius changes, which flesh does not show).
    pub fn distance(&self, p: Point) -> f64 {
        let [x, y] = [p[0] - self.start[0], p[1] - self.start[1]];
        let t = ((x * self.offset[0] + y * self.offset[1]) * self.inverse_square).clamp(0.0, 1.0);
        let [dx, dy] = [x - t * self.offset[0], y - t * self.offset[1]];
        (dx * dx + dy * dy).sqrt() - self.radius - t * self.widening
    }
}

/// One finger with its metacarpal, the bones from proximal to distal.
struct Ray {
    base: Point,
    /// Direction of the metacarpal and what a relaxed spread adds from there on, in degrees from +y to +x.
    metacarpal: f64,
    spread: f64,
    /// Length, and half widths at base, waist and head.
    bones: &'static [(f64, [f64; 3])],
}

const RAYS: [Ray; 5] = [
    Ray {
        base: [-24.0, 4.0],
        metacarpal: -44.0,
        spread: 10.0,
        bones: &[(45.0, [7.4, 5.0, 7.2]), (31.0, [7.6, 4.7, 5.6]), (22.0, [6.8, 3.4, 4.4])],
    },
    Ray {
        base: [-13.5, 16.0],
        metacarpal: -9.0,
        spread: -3.0,
        bones: &[(66.0, [7.6, 4.5, 7.6]), (40.0, [7.7, 4.7, 5.5]), (23.5, [6.3, 3.8, 4.6]), (17.0, [4.9, 2.4, 3.4])],
    },
    Ray {
        base: [-0.5, 17.0],
        metacarpal: -1.0,
        spread: 0.0,
        bones: &[(64.0, [7.0, 4.5, 7.4]), (44.5, [8.0, 5.0, 5.9]), (28.0, [6.7, 4.2, 5.0]), (18.0, [5.2, 2.6, 3.9])],
    },
    Ray {
        base: [11.0, 14.5],
        metacarpal: 7.5,
        spread: 3.0,
        bones: &[(57.0, [6.0, 3.6, 6.3]), (41.0, [7.1, 4.5, 5.3]), (26.5, [6.2, 3.8, 4.7]), (18.0, [5.0, 2.6, 3.6])],
    },
    Ray {
        base: [20.5, 9.5],
        metacarpal: 16.0,
        spread: 8.0,
        bones: &[(53.0, [6.2, 3.7, 5.9]), (33.0, [6.3, 3.7, 4.4]), (19.0, [5.0, 3.0, 3.7]), (16.0, [4.1, 2.0, 2.9])],
    },
];

/// Centre, semi-axes and angle in degrees of the carpal bones: scaphoid, lunate, triquetrum, pisiform (which lies
/// over the triquetrum), trapezium, trapezoid, capitate, hamate.
const CARPALS: [(Point, [f64; 2], f64); 8] = [
    ([-13.5, -6.0], [6.2, 10.5], -35.0),
    ([-1.0, -11.5], [7.4, 6.6], 10.0),
    ([12.5, -8.0], [6.8, 5.8], 35.0),
    ([16.0, -6.5], [3.8, 4.4], 0.0),
    ([-22.5, 4.5], [6.8, 6.0], 20.0),
    ([-12.5, 9.0], [5.4, 5.6], 0.0),
    ([-1.0, 4.5], [6.0, 10.0], 0.0),
    ([11.0, 3.5], [6.4, 8.6], 12.0),
];

/// Draws a hand: its proportions, then its pose.
pub(super) fn hand(draw: &mut Draw) -> Hand {
    let thickness = draw.factor(0.16);
    let fleshiness = draw.factor(0.14);
    let gap = draw.around(2.9, 0.5);
    let spread = draw.around(1.0, 0.9);
    let curl = draw.around(18.0, 16.0);
    let mut bones = Vec::new();
    let mut flesh = Vec::new();
    // Indexed by ray, then by joint: where each bone of the ray ends, in the middle of the gap after it.
    let mut joints = [[[0.0; 2]; 4]; 5];

    for (ray, joints) in RAYS.iter().zip(&mut joints) {
        let ray_thickness = thickness * draw.factor(0.06);
        let mut angle = draw.around(ray.metacarpal, 2.0);
        let mut position = [draw.around(ray.base[0], 0.8), draw.around(ray.base[1], 0.8)];
        let flexion = (curl + draw.around(0.0, 14.0)).max(0.0);
        for (i, &(length, half_widths)) in ray.bones.iter().enumerate() {
            let last = i + 1 == ray.bones.len();
            // Metacarpals lie in the plane of the film; a flexed phalanx is foreshortened.
            let tilt = if i == 0 { draw.around(6.0, 6.0) } else { flexion * draw.around(0.8 + 0.3 * i as f64, 0.25) };
            angle += match i {
                0 => 0.0,
                1 => ray.spread * spread + draw.around(0.0, 3.5),
                _ => draw.around(0.0, 4.5),
            };
            let direction = [radians(angle).sin(), radians(angle).cos()];
            let length = length * draw.factor(0.07) * radians(tilt.clamp(0.0, 50.0)).cos();
            let half_widths = half_widths.map(|w| w * ray_thickness * draw.factor(0.08));
            let end = along(position, direction, length);
            // Metacarpal heads are balls and tufts nearly so; the other heads are flat pulleys.
            let roundness = if i == 0 {
                1.1
            } else if last {
                0.75
            } else {
                0.5
            };
            let caps = [0.42 * half_widths[0], roundness * half_widths[2]];
            let mut shaft = Shaft::new(position, end, half_widths, caps);
            shaft.bow = draw.around(0.0, 0.03) * length;
            shaft.cortex *= draw.factor(0.2);
            // Fingertips are landmarks: their thin bones must outshine the flesh around them.
            shaft.depth = if last { 1.3 } else { 1.0 };
            bones.push(Bone { pieces: vec![Piece::Shaft(shaft)] });

            let radius = |w: f64| fleshiness * (3.2 + 0.8 * w * ray_thickness / thickness);
            let [base, _, head] = ray.bones[i].1.map(radius);
            let radii = match (i, last) {
                (0, _) => [12.5 * fleshiness, 12.0 * fleshiness],
                (_, false) => [base + 0.8, head + 0.6],
                (_, true) => [base, head + 0.6],
            };
            flesh.push(Capsule::new(position, end, radii));
            joints[i] = if last { end } else { along(end, direction, gap / 2.0) };
            position = along(end, direction, gap);
        }
    }

    bones.extend(CARPALS.iter().map(|&(centre, semi_axes, angle)| {
        let centre = [draw.around(centre[0], 0.9), draw.around(centre[1], 0.9)];
        pebble(draw, centre, semi_axes.map(|a| a * (0.5 + 0.5 * thickness)), angle)
    }));
    // The two sesamoid bones of the thumb, one over the metacarpal's head and one beside it: they tell its MCP
    // joint from the others. The thumb points up and left, so its ulnar side is up and right.
    for (ulnar, proximal) in [(1.5, 4.5), (7.6, 3.0)] {
        let [x, y] = joints[0][0];
        let (ulnar, proximal) = (draw.around(ulnar, 0.6), draw.around(proximal, 0.6));
        let diagonal = std::f64::consts::FRAC_1_SQRT_2;
        let centre = [x + diagonal * (ulnar + proximal), y + diagonal * (ulnar - proximal)];
        bones.push(pebble(draw, centre, [2.9, 2.4], 45.0));
    }
    let styloids = forearm(draw, thickness, fleshiness, &mut bones, &mut flesh);

    let [thumb, index, middle, ring, little] = joints;
    Hand {
        bones,
        flesh,
        landmarks: [
            thumb[2],
            index[3],
            middle[3],
            ring[3],
            little[3],
            thumb[0],
            index[0],
            middle[0],
            ring[0],
            little[0],
            index[1],
            middle[1],
            styloids[0],
            styloids[1],
        ],
    }
}

/// Adds radius and ulna, long enough to leave any picture, and returns the tips of their styloid processes.
fn forearm(
    draw: &mut Draw,
    thickness: f64,
    fleshiness: f64,
    bones: &mut Vec<Bone>,
    flesh: &mut Vec<Capsule>,
) -> [Point; 2] {
    // The wrist turns about the head of the capitate, roughly the lunate's distal face.
    let deviation = radians(draw.around(0.0, 9.0));
    let (sin, cos) = deviation.sin_cos();
    let turn = |[x, y]: Point| [cos * x + sin * (y + 5.0), cos * (y + 5.0) - sin * x - 5.0];
    let variance = draw.around(0.0, 2.5);

    let radius_styloid = turn([draw.around(-21.5, 1.0), draw.around(-15.5, 1.2)]);
    let mut radius =
        Shaft::new(turn([-7.0, -21.0]), turn([-9.0, -241.0]), [14.0, 7.4, 7.4].map(|w| w * thickness), [9.0, 5.0]);
    radius.depth = 0.62;
    radius.flares = [36.0, 1.0];
    radius.cortex = 2.6 * thickness;
    let process = Shaft::new(turn([-13.0, -42.0]), radius_styloid, [6.0, 7.2, 5.4].map(|w| w * thickness), [8.0, 5.0]);
    bones.push(Bone { pieces: vec![Piece::Shaft(radius), Piece::Shaft(process)] });

    let ulna_styloid = turn([draw.around(22.0, 0.8), -20.0 + variance + draw.around(0.0, 1.2)]);
    let mut ulna = Shaft::new(
        turn([16.0, -25.5 + variance]),
        turn([13.0, -241.0]),
        [8.0, 5.6, 5.6].map(|w| w * thickness),
        [6.0, 5.0],
    );
    ulna.depth = 0.85;
    ulna.flares = [24.0, 1.0];
    ulna.cortex = 2.2 * thickness;
    let mut peg =
        Shaft::new(turn([19.5, -38.0 + variance]), ulna_styloid, [3.2, 3.4, 3.0].map(|w| w * thickness), [5.0, 2.6]);
    peg.depth = 1.7;
    bones.push(Bone { pieces: vec![Piece::Shaft(ulna), Piece::Shaft(peg)] });

    let wrist = |x: f64, r: f64| Capsule::new(turn([x, -10.0]), turn([x, -241.0]), [r * fleshiness; 2]);
    flesh.extend([wrist(-9.0, 20.0), wrist(9.0, 20.0)]);
    flesh.push(Capsule::new([-14.0, 4.0], [13.0, 4.0], [19.0 * fleshiness; 2]));
    [radius_styloid, ulna_styloid]
}

fn pebble(draw: &mut Draw, centre: Point, semi_axes: [f64; 2], angle: f64) -> Bone {
    let (sin, cos) = radians(draw.around(angle, 9.0)).sin_cos();
    let semi_axes = semi_axes.map(|a| a * draw.factor(0.08));
    let harmonics = [0.04, 0.04, 0.05, 0.05].map(|h| draw.around(0.0, h));
    Bone { pieces: vec![Piece::Pebble(Pebble { centre, semi_axes, turn: [cos, sin], harmonics })] }
}

fn along(from: Point, direction: Point, distance: f64) -> Point {
    [from[0] + distance * direction[0], from[1] + distance * direction[1]]
}

fn radians(degrees: f64) -> f64 {
    degrees.to_radians()
}

/// The chord of a ray that passes the centre of a disc of radius `w` at distance `v`.
fn chord(w: f64, v: f64) -> f64 {
    2.0 * (w * w - v * v).max(0.0).sqrt()
}

/// 1 at 0, falling smoothly to 0 at 1 and staying there.
fn fade(u: f64) -> f64 {
    let rest = (1.0 - u * u).max(0.0);
    rest * rest
}
