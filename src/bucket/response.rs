//! Parses the messages of `object_store`. They are the only source of an HTTP status other than
//! "not found" and "forbidden", and of every status of a listing.

/// Precedes the status of an answer.
const STATUS: &str = "status code: ";
/// Precedes the content of an answer if the message holds no status.
const CONTENT: &str = "error response: ";

/// Whether a message reports an answer that a retry would not change.
pub(super) fn is_refusal(message: &str) -> bool {
    // Timeout, conflict and too many requests; S3 also has its own code for a timeout.
    const MAY_PASS: [u16; 3] = [408, 409, 429];
    let status = message.split_once(STATUS).and_then(|(_, answer)| answer.get(..3)?.parse().ok());
    status.is_some_and(|status: u16| (400..500).contains(&status) && !MAY_PASS.contains(&status))
        && !message.contains("RequestTimeout")
}

/// Removes from a message whatever may hold credentials: the query string of its URLs, and the
/// content of an answer except for the error code.
pub(super) fn without_secrets(message: &str) -> String {
    let (said, content) = at_content(message);
    let word = |word: &str| match word.split_once('?') {
        Some((url, _)) if url.contains("://") => format!("{url}?…"),
        _ => word.to_owned(),
    };
    let said = said.split(' ').map(word).collect::<Vec<_>>().join(" ");
    match content.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>")) {
        Some((code, _)) => format!("{said}: {code}"),
        None => said,
    }
}

/// Splits a message into its own text and the content of the answer.
fn at_content(message: &str) -> (&str, &str) {
    let status = message.find(STATUS).map(|at| at + STATUS.len());
    // The status may include its reason phrase, which never contains the colon that ends it.
    let from = status.or_else(|| message.find(CONTENT)).unwrap_or(message.len());
    let (before, answer) = message.split_at(from);
    match answer.split_once(": ") {
        Some((said, content)) => (&message[..before.len() + said.len()], content),
        None => (message, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_do_not_reach_a_message() {
        for (message, told) in [
            (
                "Error performing GET https://a.blob.core.windows.net/c/x?sig=secret&se=1 in 3 ms",
                "Error performing GET https://a.blob.core.windows.net/c/x?… in 3 ms",
            ),
            (
                "in 3ms - Server returned non-2xx status code: 400 Bad Request: <Error><Code>ExpiredToken</Code>\n\
                 <Token-0>secret</Token-0></Error>",
                "in 3ms - Server returned non-2xx status code: 400 Bad Request: ExpiredToken",
            ),
            (
                "Server returned non-2xx status code: 502 Bad Gateway: secret",
                "Server returned non-2xx status code: 502 Bad Gateway",
            ),
            ("Server returned error response: <a>secret</a>", "Server returned error response"),
        ] {
            assert_eq!(without_secrets(message), told);
        }
    }

    #[test]
    fn an_answer_that_will_be_the_same_next_time_is_a_refusal() {
        for (status, refused) in [
            ("403 Forbidden: <Code>AccessDenied</Code>", true),
            ("400 Bad Request: <Code>ExpiredToken</Code>", true),
            ("400 Bad Request: <Code>RequestTimeout</Code>", false),
            ("409 Conflict: ", false),
            ("429 Too Many Requests: ", false),
            ("503 Slow Down: ", false),
        ] {
            assert_eq!(
                is_refusal(&format!("Server returned non-2xx status code: {status}")),
                refused,
                "{status}"
            );
        }
        assert!(!is_refusal("connection refused"));
    }
}
