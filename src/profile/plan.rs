//! A program for people: a table of its steps, and a picture of its arena over time.

use crate::gpu::Choice;
use crate::plan::{Place, Program, Slot};
use crate::report::svg::escape;
use crate::timing::shapes;
use crate::units::si;
use std::fmt::Write;

/// Every step with its variant, cost, and the place and life of what it writes; then totals. A variant is what shapes
/// choose on a real GPU; places are elements into the arena or a persistent buffer.
pub fn table(name: &str, program: &Program) -> String {
    let lives = program.lives();
    let mut text = format!("{name}\n");
    let heads = ["step", "variant", "label", "FLOP", "bytes", "writes", "lives"];
    let mut rows: Vec<[String; 7]> = vec![heads.map(String::from)];
    let mut shape = vec!["shapes".to_string()];
    for (i, step) in program.steps.iter().enumerate() {
        let launches = program.launches(step, &Choice::default());
        let variants: Vec<&str> = launches.iter().map(|launch| launch.shader).collect();
        let each =
            |of: &dyn Fn(usize) -> String| step.outputs.iter().map(|&slot| of(slot)).collect::<Vec<_>>().join(" ");
        rows.push([
            (i + 1).to_string(),
            variants.join(" "),
            step.label.clone(),
            si(step.cost.flops as f64, ""),
            si(step.cost.bytes as f64, "B"),
            each(&|slot| place(&program.slots[slot])),
            each(&|slot| match (program.slots[slot].place, lives[slot]) {
                (Place::Arena, Some((first, last))) => format!("{first}-{last}"),
                _ => "-".into(),
            }),
        ]);
        shape.push(shapes(program, step));
    }
    let width = |c: usize| rows.iter().map(|row| row[c].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    for (row, shape) in rows.iter().zip(shape) {
        for ((cell, &width), head) in row.iter().zip(&widths).zip(heads) {
            let right = matches!(head, "step" | "FLOP" | "bytes");
            if right { write!(text, "{cell:>width$}  ") } else { write!(text, "{cell:<width$}  ") }.expect("a string");
        }
        text += &(shape + "\n");
    }
    text + &totals(program)
}

fn place(slot: &Slot) -> String {
    match slot.place {
        Place::Arena => slot.offset.to_string(),
        Place::Region(region) => format!("{}+{}", format!("{region:?}").to_lowercase(), slot.offset),
    }
}

fn totals(program: &Program) -> String {
    let cost = program.cost();
    let (arena, unaliased) = (program.arena_bytes(), 4 * program.arena_len_unaliased as u64);
    let live = program.live_bytes().into_iter().max().unwrap_or(0);
    format!(
        "{} steps, {}, {} to move, {} parameters\narena {} (at once needed {}, without sharing {}), persistent buffers {}\n",
        program.steps.len(),
        si(cost.flops as f64, "FLOP"),
        si(cost.bytes as f64, "B"),
        program.parameters,
        si(arena as f64, "B"),
        si(live as f64, "B"),
        si(unaliased as f64, "B"),
        si((program.total_bytes() - arena) as f64, "B"),
    )
}

const WIDTH: f64 = 1200.0;
const HEIGHT: f64 = 640.0;
const MARGIN: f64 = 40.0;
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#008563", "#b1528f", "#6d747d", "#8a6d00"];

/// The arena over time as SVG: steps to the right, bytes upwards, a box a tensor. Boxes do not overlap.
pub fn chart(name: &str, program: &Program) -> String {
    let x = |step: usize| MARGIN + step as f64 / (program.steps.len() + 2) as f64 * (WIDTH - 2.0 * MARGIN);
    let y = |byte: u64| HEIGHT - MARGIN - byte as f64 / program.arena_bytes().max(1) as f64 * (HEIGHT - 2.0 * MARGIN);
    let title = format!(
        "{name}: arena {}, {} steps, without sharing {}",
        si(program.arena_bytes() as f64, "B"),
        program.steps.len(),
        si(4.0 * program.arena_len_unaliased as f64, "B")
    );
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\"><style>text{{font:14px system-ui,sans-serif}}\
         rect.t{{stroke:#fff;stroke-width:.5}}</style><rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{MARGIN}\" y=\"26\">{}</text>\n<text x=\"{MARGIN}\" y=\"{}\">steps</text>\n",
        escape(&title),
        HEIGHT - 12.0,
    );
    for (i, (slot, life)) in program.slots.iter().zip(program.lives()).enumerate() {
        let (Place::Arena, Some((first, last))) = (slot.place, life) else { continue };
        let (bottom, top) = (y(slot.byte_offset()), y(slot.byte_offset() + slot.bytes()));
        let what = format!("{} {:?}, steps {first}-{last}", slot.name, slot.operand.shape);
        writeln!(
            svg,
            "<rect class=\"t\" x=\"{:.1}\" y=\"{top:.2}\" width=\"{:.1}\" height=\"{:.2}\" fill=\"{}\"><title>{}</title></rect>",
            x(first),
            x(last + 1) - x(first),
            bottom - top,
            COLOURS[i % COLOURS.len()],
            escape(&what),
        )
        .expect("a string");
    }
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tape::Tape;

    fn program() -> Program {
        let mut tape = Tape::new();
        let x = tape.input("x<1>", [1, 2, 8, 8, 3]);
        let y = tape.scoped("layer", |tape| tape.scale_shift(x, 2.0, 1.0)).unwrap();
        let z = tape.add(y, x).unwrap();
        let sum = tape.sum_all(z).unwrap();
        tape.output(sum);
        Program::new(&tape)
    }

    #[test]
    fn a_table_has_every_step_and_totals() {
        let text = table("small", &program());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2 + 3 + 2, "{text}");
        assert!(lines[2].contains("scale_shift") && lines[2].contains("layer.scale_shift") && lines[2].contains("1-2"));
        assert!(lines[4].contains("3-4") && lines[5].starts_with("3 steps"), "{text}");
    }

    #[test]
    fn a_chart_has_a_box_for_every_tensor_of_the_arena() {
        let program = program();
        let live = program.slots.iter().zip(program.lives()).filter(|(s, l)| s.place == Place::Arena && l.is_some());
        let svg = chart("small", &program);
        assert_eq!(svg.matches("<rect class=\"t\"").count(), live.count());
        assert!(svg.contains("x&lt;1&gt; [1, 2, 8, 8, 3], steps 0-2"), "{svg}");
    }
}
