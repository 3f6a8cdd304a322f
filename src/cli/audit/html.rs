//! An audit's report as one page that needs nothing else: style, script and charts are inside, and
//! it says everything without its script, which only sorts and filters.

use super::chart;
use super::chart::Bar;
use super::text;
use super::text::mode_and_key;
use super::text::posture;
use super::text::word;
use crate::cli::output::bytes;
use crate::object::Told;
use crate::ops::audit::Part;
use crate::ops::audit::Report;
use crate::ops::audit::Row;
use crate::ops::audit::Verdict;

const PAGE: &str = include_str!("page.html");

const PARTS: [(Part, &str); 7] = [
    (Part::Header, "header"),
    (Part::State, "state"),
    (Part::Blocks, "blocks"),
    (Part::Metadata, "metadata"),
    (Part::Terms, "terms"),
    (Part::Probes, "probes"),
    (Part::Foreign, "foreign"),
];

/// The whole page.
pub(super) fn page(report: &Report) -> String {
    let outcome = if report.passed { "passed" } else { "failed" };
    let fill = [
        ("{{volume}}", escaped(&report.scope.volume)),
        ("{{outcome}}", outcome.to_owned()),
        ("{{verdict}}", escaped(text::verdict(report))),
        ("{{faults}}", items("fault", &report.faults)),
        ("{{notes}}", items("note", &report.notes)),
        ("{{scope}}", pairs(&scope(report))),
        ("{{bucket}}", bucket(report)),
        ("{{repair}}", repair(report)),
        ("{{parts}}", parts(report)),
        ("{{ages}}", ages(report)),
        ("{{sums}}", sums(report)),
        ("{{rows}}", rows(report)),
    ];
    // One walk over the template: what is filled in is never looked at again.
    let mut page = String::with_capacity(PAGE.len() * 2);
    let mut rest = PAGE;
    while let Some(at) = rest.find("{{") {
        page.push_str(&rest[..at]);
        rest = &rest[at..];
        let (mark, value) = fill
            .iter()
            .find(|(mark, _)| rest.starts_with(mark))
            .expect("the template has only marks that are filled in");
        page.push_str(value);
        rest = &rest[mark.len()..];
    }
    page + rest
}

fn scope(report: &Report) -> Vec<(&'static str, String)> {
    let (scope, totals) = (&report.scope, &report.totals);
    let versions = match &scope.versions {
        Told::Yes(()) => format!(
            "{} superseded versions, {} delete markers, {} unfinished uploads",
            thousands(totals.superseded),
            thousands(totals.markers),
            thousands(totals.uploads)
        ),
        Told::No(why) | Told::Denied(why) => format!("not told: {why}"),
    };
    vec![
        ("Volume", format!("{} ({})", scope.volume, scope.volume_id)),
        ("Store", format!("{} (row {} of the matrix)", scope.store, scope.provider)),
        ("Endpoint", scope.endpoint.clone().unwrap_or_else(|| "–".to_owned())),
        ("Bucket and prefix", format!("{} / {}", scope.bucket, scope.prefix)),
        ("Policy", scope.asked.clone()),
        ("Objects", format!("{}, {}", thousands(totals.objects), bytes(totals.bytes))),
        ("Versions", versions),
        (
            "Blocks",
            format!(
                "{} named by the metadata, {} missing, {} not named",
                thousands(totals.blocks_named),
                thousands(totals.blocks_missing),
                thousands(totals.blocks_unnamed)
            ),
        ),
        ("Foreign objects", thousands(totals.foreign)),
        ("Began", scope.began.clone()),
        ("Ended", scope.ended.clone()),
        ("Tool", scope.tool.clone()),
        ("Capability matrix", format!("BLAKE3 {}", scope.matrix)),
    ]
}

fn bucket(report: &Report) -> String {
    match &report.bucket {
        Some(facts) => pairs(&text::bucket_rows(facts)),
        None => "<p>The store has no call that tells.</p>".to_owned(),
    }
}

fn repair(report: &Report) -> String {
    let Some(repair) = &report.repair else { return String::new() };
    format!(
        "<section><h2>Repaired first</h2><p>{} objects written again ({}) and read back, \
         {} superseded versions removed, {} failures.</p></section>",
        thousands(repair.rewritten),
        bytes(repair.bytes),
        thousands(repair.removed),
        thousands(repair.failed)
    )
}

fn parts(report: &Report) -> String {
    let count = |part: Part, verdict: Verdict| {
        let alike = report.sums.iter().filter(|sum| sum.part == part && sum.verdict == verdict);
        alike.map(|sum| sum.objects).sum::<u64>()
    };
    let bars = PARTS.iter().filter_map(|(part, name)| {
        let [meets, short, unknown] = [Verdict::Meets, Verdict::FallsShort, Verdict::Unknown]
            .map(|verdict| count(*part, verdict));
        (meets + short + unknown > 0).then(|| Bar {
            name: (*name).to_owned(),
            pieces: vec![("meets", meets), ("short", short), ("unknown", unknown)],
            label: label(meets, short + unknown),
        })
    });
    chart::bars("Objects and versions by part", &bars.collect::<Vec<_>>())
}

fn ages(report: &Report) -> String {
    let bars = report.ages.iter().map(|sum| Bar {
        name: escaped(&sum.age),
        pieces: vec![("meets", sum.meets), ("short", sum.short)],
        label: label(sum.meets, sum.short),
    });
    chart::bars("Objects and versions by age", &bars.collect::<Vec<_>>())
}

fn label(meets: u64, short: u64) -> String {
    match short {
        0 => format!("{} as asked", thousands(meets)),
        _ => format!("{} as asked, {} not", thousands(meets), thousands(short)),
    }
}

fn sums(report: &Report) -> String {
    let row = |sum: &crate::ops::audit::Sum| {
        let (mode, key) = mode_and_key(&sum.finding);
        let cells = [
            word(&sum.part),
            word(&sum.standing),
            posture(&sum.finding).to_owned(),
            mode,
            key,
            word(&sum.verdict),
        ];
        let cells: String =
            cells.iter().map(|cell| format!("<td>{}</td>", escaped(cell))).collect();
        format!(
            "<tr>{cells}<td class=\"number\">{}</td><td class=\"number\">{}</td></tr>",
            thousands(sum.objects),
            bytes(sum.bytes)
        )
    };
    report.sums.iter().map(row).collect()
}

fn rows(report: &Report) -> String {
    let missing = report.missing.iter().map(|name| cells([name, "missing", "", "", "", "", "0"]));
    let uploads = match &report.uploads {
        Told::Yes(uploads) => uploads.as_slice(),
        Told::No(_) | Told::Denied(_) => &[],
    };
    let uploads = uploads.iter().map(|upload| {
        cells([&upload.name, "unfinished upload", "", "", "", &upload.initiated, "0"])
    });
    let foreign = |name: &&String| report.offenders.iter().all(|row| row.name != **name);
    let foreign = report
        .foreign
        .iter()
        .filter(foreign)
        .map(|name| cells([name, "foreign", "", "", "", "", "0"]));
    report.offenders.iter().map(offender).chain(missing).chain(uploads).chain(foreign).collect()
}

fn offender(row: &Row) -> String {
    let (mode, key) = mode_and_key(&row.finding);
    let what = format!("{}: {}, {}", word(&row.verdict), word(&row.part), word(&row.standing));
    let seen = match &row.error {
        Some(error) => error.clone(),
        None => format!("{} {mode}", posture(&row.finding)),
    };
    let version = row.version.as_deref().unwrap_or_default();
    let modified = row.modified.as_deref().unwrap_or_default();
    cells([&row.name, &what, seen.trim(), &key, version, modified, &row.bytes.to_string()])
}

fn cells(cells: [&str; 7]) -> String {
    let [name, what, seen, key, version, modified, size] = cells.map(escaped);
    format!(
        "<tr><td class=\"name\">{name}</td><td>{what}</td><td>{seen}</td><td>{key}</td>\
         <td>{version}</td><td>{modified}</td><td class=\"number\">{size}</td></tr>\n"
    )
}

fn pairs(pairs: &[(&'static str, String)]) -> String {
    let row = |(name, value): &(&str, String)| {
        format!("<tr><th scope=\"row\">{name}</th><td>{}</td></tr>", escaped(value))
    };
    format!("<table class=\"pairs\">{}</table>", pairs.iter().map(row).collect::<String>())
}

fn items(class: &str, sentences: &[String]) -> String {
    let item = |sentence: &String| format!("<li class=\"{class}\">{}</li>", escaped(sentence));
    match sentences {
        [] => String::new(),
        _ => format!("<ul>{}</ul>", sentences.iter().map(item).collect::<String>()),
    }
}

/// `1,234,567`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let comma = |at: usize| at > 0 && (digits.len() - at).is_multiple_of(3);
    digits
        .char_indices()
        .flat_map(|(at, digit)| comma(at).then_some(',').into_iter().chain([digit]))
        .collect()
}

/// As text, wherever it stands. Names of foreign objects are anybody's.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_becomes_markup() {
        let row = cells(["<script>\"&'", "", "", "", "", "", "1"]);
        assert!(row.contains("&lt;script&gt;&quot;&amp;&#39;"), "{row}");
    }

    #[test]
    fn numbers_have_commas() {
        let all = [0, 999, 1_000, 1_234_567].map(thousands);
        assert_eq!(all, ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn the_page_asks_for_nothing_from_elsewhere() {
        for outside in ["http:", "https:", "src=", "href=", "url(", "@import"] {
            assert!(!PAGE.contains(outside), "{outside}");
        }
        assert!(PAGE.contains("default-src 'none'"));
    }
}
