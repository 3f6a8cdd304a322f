//! Charts as inline SVG. Every bar is labelled, so that colour carries nothing alone.

use std::fmt::Write as _;

/// One bar of a chart: its name, and its pieces as (class, value).
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) pieces: Vec<(&'static str, u64)>,
    pub(super) label: String,
}

const WIDTH: u64 = 640;
const NAME_WIDTH: u64 = 200;
const BAR_WIDTH: u64 = 300;
const ROW_HEIGHT: u64 = 26;

/// Bars below one another, the longest as wide as there is room. Names are escaped already.
pub(super) fn bars(title: &str, bars: &[Bar]) -> String {
    let total = |bar: &Bar| bar.pieces.iter().map(|(_, value)| value).sum::<u64>();
    let longest = bars.iter().map(total).max().unwrap_or(0).max(1);
    let height = ROW_HEIGHT * bars.len() as u64 + 4;
    let mut svg = format!(
        "<svg role=\"img\" aria-label=\"{title}\" viewBox=\"0 0 {WIDTH} {height}\">\
         <title>{title}</title>"
    );
    for (at, bar) in (0_u64..).zip(bars) {
        let (y, middle) = (at * ROW_HEIGHT + 4, at * ROW_HEIGHT + 18);
        let _ = write!(svg, "<text x=\"0\" y=\"{middle}\">{}</text>", bar.name);
        let mut x = NAME_WIDTH;
        for (class, value) in bar.pieces.iter().filter(|(_, value)| *value > 0) {
            let width = width_of(*value, longest);
            let _ = write!(
                svg,
                "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"18\"/>"
            );
            x += width;
        }
        let _ = write!(svg, "<text x=\"{}\" y=\"{middle}\">{}</text>", x + 8, bar.label);
    }
    svg + "</svg>"
}

/// At least two, so that a few objects among millions are seen.
fn width_of(value: u64, longest: u64) -> u64 {
    let exact = u128::from(value) * u128::from(BAR_WIDTH) / u128::from(longest);
    u64::try_from(exact).unwrap_or(BAR_WIDTH).max(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_objects_among_millions_are_seen() {
        assert_eq!(width_of(1, 10_000_000), 2);
        assert_eq!(width_of(u64::MAX, u64::MAX), BAR_WIDTH);
        let bar = Bar {
            name: "blocks".into(),
            pieces: vec![("meets", 2_000_000), ("short", 1), ("unknown", 0)],
            label: "2,000,001".into(),
        };
        let svg = bars("by part", &[bar]);
        assert_eq!(svg.matches("<rect").count(), 2);
        assert!(svg.contains(r#"class="short" x="499""#), "{svg}");
    }
}
