//! The worst nesting there may be, on the smallest stacks there are.
//!
//! An overflow aborts the process, so these pass by ending. Run them in both profiles: frames of a debug
//! build are twenty times as large.

use neoabzu_core::{Limits, Program, Value, Variables};

fn worst() -> Vec<String> {
    let nesting = Limits::DEFAULT.nesting;
    let depth = Limits::DEFAULT.depth;
    let around = |open: &str, middle: &str, close: &str, times: usize| {
        format!("{}{middle}{}", open.repeat(times), close.repeat(times))
    };
    let mut sources = Vec::new();
    for (open, close) in [
        ("(", ")"),
        ("[", "]"),
        ("{1:", "}"),
        ("size(", ")"),
        ("!(", ")"),
        ("-(", ")"),
        ("1+(", ")"),
        ("[1].map(x,", ")"),
        ("[1].all(x,", ")"),
        ("true?(", "):1"),
        ("a[", "]"),
        ("{'a':", "}.a"),
        ("'a'.replace('a',", ")"),
        ("[", "].join('')"),
        ("optional.of(", ").value()"),
        ("[[1].map(x,", ")]"),
        ("a.f(", ")"),
        ("(1+", ")+1"),
        ("[?", "]"),
    ] {
        for times in [nesting, nesting / 2, nesting / 3] {
            sources.push(around(open, "x", close, times));
            sources.push(around(open, "", close, times));
            sources.push(around(open, "1", "", times));
        }
    }
    for link in [
        "+1",
        ".a",
        "[0]",
        ".f()",
        ".map(x,x)",
        ".replace('a','b')",
        "-1",
        "==1",
        ".?a",
        "[?0]",
        "&&1",
        "||1",
        "?1:1",
    ] {
        for times in [depth, depth - 20, depth / 3, depth / 5] {
            sources.push(format!("a{}", link.repeat(times)));
        }
    }
    for prefix in ["!", "-", "!-", "a?b:", "a?", "a."] {
        sources.push(format!("{}a", prefix.repeat(depth - 2)));
        sources.push(format!("{}a", prefix.repeat(nesting - 2)));
    }
    let chain = "+1".repeat(depth / 3);
    sources.push(format!("{}1{}", "(".repeat(nesting - 2), format!("{chain})").repeat(2)));
    sources.push("xs.map(v,[v])".to_owned() + &".map(v,[v])".repeat(depth / 4));
    sources
}

fn run_all() -> usize {
    let nested =
        (0..Limits::DEFAULT.value_depth - 1).fold(Value::Int(1), |inner, _| Value::List(vec![inner]));
    let mut compiled = 0;
    for source in worst() {
        if let Ok(program) = Program::compile(&source) {
            compiled += 1;
            let variables: Variables =
                [("a", nested.clone()), ("x", Value::from("x")), ("xs", Value::List(vec![nested.clone()]))]
                    .into_iter()
                    .collect();
            let _ = program.evaluate(&variables);
            let _ = program.check(Some(&|_| false));
            let _ = program.references();
        }
    }
    compiled
}

#[test]
fn the_worst_nesting_overflows_no_stack() {
    for kilobytes in [256, 8 * 1024] {
        let thread = std::thread::Builder::new().stack_size(kilobytes << 10);
        let compiled = thread.spawn(run_all).unwrap().join().unwrap();
        assert!(compiled > 60, "most of the worst must be within the limits: {compiled}");
    }
}
