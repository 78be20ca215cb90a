//! Values as people read them in a terminal: columns, spans of time, sizes.
//!
//! Apart from `config`, where what is printed must read back. **Invariant**: what somebody else
//! wrote cannot move the cursor or change colours.

use std::time::Duration;

use crate::say;

/// Prints rows in columns as wide as their widest cell; the last one is not filled up.
pub(super) fn columns<const N: usize>(head: [&str; N], rows: &[[String; N]]) {
    table(&head.map(str::to_owned), rows);
}

/// The same, of as many columns as there are.
pub(super) fn table(head: &[String], rows: &[impl AsRef<[String]>]) {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row.as_ref()) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &[String]| {
        let cells = cells.iter().zip(&widths);
        let text: String = cells.map(|(cell, width)| format!("{cell:width$}  ")).collect();
        say!("{}", text.trim_end());
    };
    line(head);
    rows.iter().for_each(|row| line(row.as_ref()));
}

/// A span of time in its largest unit, rounded.
pub(super) fn span(span: Duration) -> String {
    let millis = span.as_millis();
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];
    match units.into_iter().find(|(_, size)| *size <= millis + size / 200) {
        Some((unit, size)) => format!("{}{unit}", (millis + size / 2) / size),
        None => format!("{millis}ms"),
    }
}

/// A number of bytes in its largest binary unit, with one digit behind the point.
pub(super) fn size(bytes: u64) -> String {
    let units = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.into_iter().find(|(_, size)| *size <= bytes) {
        Some((unit, size)) => {
            let tenths = u128::from(bytes) * 10 / u128::from(size);
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} B"),
    }
}

/// Text of somebody else: control characters are written as escapes.
pub(super) fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_control() {
            true => out.extend(character.escape_default()),
            false => out.push(character),
        }
    }
    out
}

/// `1 entry`, `2 entries`.
pub(super) fn entries(count: u64) -> String {
    match count {
        1 => "1 entry".to_owned(),
        count => format!("{count} entries"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_sizes_are_short() {
        let of = |millis| span(Duration::from_millis(millis));
        assert_eq!(
            [of(0), of(999), of(1000), of(59_999), of(3_599_990)],
            ["0ms", "1s", "1s", "1m", "1h"]
        );
        assert_eq!([of(90 * 60_000), of(30 * 86_400_000 - 500)], ["2h", "30d"]);
        assert_eq!(
            [size(0), size(1023), size(1024), size(5 << 29)],
            ["0 B", "1023 B", "1.0 KiB", "2.5 GiB"]
        );
    }

    #[test]
    fn a_key_cannot_speak_to_the_terminal() {
        assert_eq!(text("a\u{1b}[2Jb\nc\u{4e0a}"), "a\\u{1b}[2Jb\\nc\u{4e0a}");
    }
}
