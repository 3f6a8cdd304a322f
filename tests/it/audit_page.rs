//! The audit's page in a real browser: it is whole without anything from elsewhere, it sorts and
//! filters, and it prints.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::support::servers::BUCKET;
use super::support::servers::Key;
use super::support::servers::Minio;
use super::support::tools;
use super::support::tools::Ended;
use super::support::volume::NAME;
use super::support::volume::TestVolume;

const LIMIT: Duration = Duration::from_secs(90);

/// Runs the browser without a window, in a profile of its own.
fn browser(dir: &Path, args: &[&str]) -> Ended {
    let mut command = Command::new(tools::installed("chromium"));
    command
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"])
        .arg("--virtual-time-budget=2000")
        .arg(format!("--user-data-dir={}", dir.join("profile").display()))
        .env("HOME", dir)
        .args(args);
    tools::run(&mut command, LIMIT)
}

/// The rows of the table of objects that are shown, by the name in each.
fn shown(page: &str) -> Vec<String> {
    let table = page.split("id=\"objects\"").nth(1).unwrap().split("</table>").next().unwrap();
    let rows = table.split("<tr").filter(|row| !row.starts_with(" hidden"));
    let name =
        |row: &str| row.split("class=\"name\">").nth(1)?.split('<').next().map(str::to_owned);
    rows.filter_map(name).collect()
}

#[test]
fn the_page_sorts_and_filters_and_prints_and_asks_for_nothing() {
    let minio = Minio::start(Key::Present);
    let (volume, client) = (TestVolume::minio(&minio), minio.client());
    volume.create(&["--sse"]);
    let planted = [("b<i>&\"'.txt", 7), ("c.txt", 1000), ("a.txt", 50)];
    for (name, size) in planted {
        let body = tools::noise(1, size);
        client.send("PUT", &format!("/{BUCKET}/{name}"), "", &[], &body).unwrap();
    }
    let dir = volume.scratch("page");
    let (html, csv) = (dir.join("audit.html"), dir.join("audit.csv"));
    let (html_arg, csv_arg) = (html.to_str().unwrap(), csv.to_str().unwrap());
    let ended = volume.call("cairnfs", &["audit", NAME, "--html", html_arg, "--csv", csv_arg]);
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    let rows = std::fs::read_to_string(&csv).unwrap();
    assert_eq!(rows.lines().count(), client.keys(BUCKET).len() + 1, "{rows}");
    assert!(rows.contains("\na.txt,"), "{rows}");

    let url = |view: &str| format!("file://{}{view}", html.display());
    let page = browser(&dir, &["--dump-dom", &url("")]).expect_success("chromium");
    for fault in ["Refused", "Uncaught", "ERR_"] {
        assert!(!page.stderr.contains(fault), "{}", page.stderr);
    }
    assert!(page.stdout.contains("foreign objects that are not encrypted"), "{}", page.stdout);
    let mut names = shown(&page.stdout);
    names.sort();
    assert_eq!(names, ["a.txt", "b&lt;i&gt;&amp;\"'.txt", "c.txt"]);
    assert!(page.stdout.contains(">3 of 3<"));

    let page = browser(&dir, &["--dump-dom", &url("#sort=6&down")]).expect_success("sorted");
    assert_eq!(shown(&page.stdout), ["c.txt", "a.txt", "b&lt;i&gt;&amp;\"'.txt"], "by size");
    assert!(page.stdout.contains("aria-sort=\"descending\""));
    let page = browser(&dir, &["--dump-dom", &url("#show=FOREIGN c.t")]).expect_success("filtered");
    assert_eq!(shown(&page.stdout), ["c.txt"]);
    assert!(page.stdout.contains(">1 of 3<"));

    let pdf = dir.join("audit.pdf");
    browser(&dir, &[&format!("--print-to-pdf={}", pdf.display()), &url("")]).expect_success("pdf");
    assert!(std::fs::read(&pdf).unwrap().starts_with(b"%PDF"));
}
