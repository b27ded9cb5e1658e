//! Hostile answers of language models: streams of any bytes in any pieces.

use jarvis_fuzz::fuzz;

use super::super::http::Heard;
use super::super::{ollama, openai};
use super::*;

fn lines(bytes: &[u8], size: usize) -> Result<Vec<String>, String> {
    let (mut buffer, mut lines) = (LineBuffer::default(), Vec::new());
    for piece in bytes.chunks(size) {
        buffer.push(piece);
        while let Some(line) = buffer.next_line().map_err(|e| e.to_string())? {
            lines.push(line);
        }
    }
    lines.push(buffer.last_line().map_err(|e| e.to_string())?);
    Ok(lines)
}

fn kind(heard: Result<Heard, ResponderError>) -> &'static str {
    match heard {
        Ok(Heard::Nothing) => "nothing",
        Ok(Heard::Alive) => "alive",
        Ok(Heard::Text(_)) => "text",
        Ok(Heard::LastText(_)) => "last",
        Ok(Heard::End) => "end",
        Err(ResponderError::Reported(why)) => {
            assert!(
                why.chars().count() <= 1_000,
                "what an endpoint reports is shortened"
            );
            "reported"
        }
        Err(_) => "malformed",
    }
}

#[test]
fn fuzz_streams_of_models() {
    fuzz!()
        .seed(
            "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"Bon\"}}]}\n\n: comment\r\ndata: \
             {\"choices\":[{\"delta\":{\"content\":\"jour é🙂\"},\"finish_reason\":\"stop\"}]}\r\n\r\ndata: [DONE]\n\n",
        )
        .seed("event: error\ndata: {\"error\":{\"message\":\"overloaded\",\"code\":503}}\n\n")
        .seed(
            "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"Bon\"},\"done\":false}\n{\"message\":\
             {\"content\":\"jour\"},\"done\":false}\n{\"done\":true,\"done_reason\":\"stop\"}\n",
        )
        .seed("{\"error\":\"model not found\"}")
        .words(["data:", "\n\n", "\r", "[DONE]", "\"choices\":[]", "\"delta\":{}", "\"content\":null", "\"error\":null", "\\ud800"])
        // The target itself holds all lines several times over; a line is 24 bytes even if it is empty.
        .memory(256 * 1024, 512)
        .run(|bytes| {
            let whole = lines(bytes, bytes.len().max(1));
            let pieces = 1 + bytes.first().map_or(0, |byte| usize::from(*byte) % 13);
            assert_eq!(lines(bytes, pieces), whole, "in pieces of {pieces}");
            let whole = whole?;
            if let Ok(text) = std::str::from_utf8(bytes) {
                let expected: Vec<&str> = text.split('\n').map(|line| line.trim_end_matches('\r')).collect();
                assert_eq!(whole, expected);
            }
            let heard = |read: fn(&str) -> Result<Heard, ResponderError>| {
                whole.iter().map(|line| kind(read(line))).take(4).collect::<Vec<_>>()
            };
            Ok::<_, String>((heard(openai::read), heard(ollama::read)))
        });
}

/// What was found once: each line that was taken out moved all that were behind it, so that a piece of nothing but line ends
/// took time in the square of its length. In memory it shows as what is allocated.
#[test]
fn many_short_lines_cost_no_more_than_one_long_one() {
    const LINES: usize = 100_000;
    let mut buffer = LineBuffer::default();
    buffer.push(&vec![b'\n'; LINES]);
    let (mut count, mut used) = (0, 0);
    loop {
        let mut line = None;
        used += jarvis_fuzz::measure(&mut || line = buffer.next_line().expect("sound")).most_bytes;
        match line {
            Some(_) => count += 1,
            None => break,
        }
    }
    assert_eq!(count, LINES);
    assert!(
        used <= LINES as u64 * 16,
        "{used} bytes were allocated for {LINES} lines"
    );
}
