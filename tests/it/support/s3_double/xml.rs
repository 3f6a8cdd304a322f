//! The little XML and the two date forms that S3 speaks.

use std::time::SystemTime;

/// The texts of all `<tag>…</tag>` in `xml`, unescaped.
pub fn texts(xml: &str, tag: &str) -> Vec<String> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    let mut found = Vec::new();
    let mut rest = xml;
    while let Some(start) = rest.find(&open) {
        let tail = &rest[start + open.len()..];
        let Some(end) = tail.find(&close) else { break };
        found.push(unescape(&tail[..end]));
        rest = &tail[end + close.len()..];
    }
    found
}

/// `text` as it may stand in XML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn unescape(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#34;", "\"")
        .replace("&apos;", "'")
        .replace("&#39;", "'")
        .replace("&amp;", "&")
}

/// `2026-11-24T13:22:54.000Z`, as in lists.
pub fn iso_date(time: SystemTime) -> String {
    let (day, second) = split(time);
    let (year, month, day) = civil(day);
    let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.000Z")
}

/// `Tue, 24 Nov 2026 13:22:54 GMT`, as in headers.
pub fn http_date(time: SystemTime) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, second) = split(time);
    let (year, month, day) = civil(days);
    let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
    let at = |number: u64| usize::try_from(number).expect("a small number");
    let (weekday, month) = (DAYS[at(days % 7)], MONTHS[at(month - 1)]);
    format!("{weekday}, {day:02} {month} {year:04} {h:02}:{m:02}:{s:02} GMT")
}

/// `20261124T132254Z`, as in a signature.
pub fn basic_date(time: SystemTime) -> String {
    iso_date(time).replace(['-', ':'], "").replace(".000", "")
}

/// Days since the epoch and the second of the day.
fn split(time: SystemTime) -> (u64, u64) {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    (seconds / 86_400, seconds % 86_400)
}

/// Year, month and day of a day since the epoch (Howard Hinnant's `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[test]
fn dates_are_written_as_s3_writes_them() {
    let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_795_526_574);
    assert_eq!(iso_date(time), "2026-11-24T13:22:54.000Z");
    assert_eq!(http_date(time), "Tue, 24 Nov 2026 13:22:54 GMT");
    assert_eq!(basic_date(time), "20261124T132254Z");
}
