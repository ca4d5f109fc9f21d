//! Expressions made to explode end, within their limits, with an error that says which.

use neoabzu_core::{Error, ErrorKind, Limits, Program, Value, Variables};

fn numbers(count: usize) -> Value<'static> {
    Value::List((0..count as i64).map(Value::Int).collect())
}

fn evaluate(source: &str) -> Result<Value<'static>, Error> {
    let deep = (0..60).fold(Value::Null, |inner, _| Value::List(vec![inner]));
    let variables: Variables = [
        ("xs", numbers(1_000)),
        ("big", numbers(100_000)),
        ("text", Value::from("0123456789abcdef".repeat(64 * 1024))),
        ("deep", deep),
    ]
    .into_iter()
    .collect();
    Program::compile(source)?.evaluate(&variables)
}

#[test]
fn work_without_end_runs_out_of_steps() {
    let doubling = |times: usize, step: &str, seed: &str| format!("{seed}{}", step.repeat(times));
    let cases = [
        "xs.map(a, xs.map(b, xs.map(c, a * b * c)))".to_owned(),
        "xs.all(a, xs.all(b, xs.all(c, a + b + c >= 0)))".to_owned(),
        "xs.exists(a, xs.exists(b, xs.exists(c, a + b + c < 0)))".to_owned(),
        "xs.all(a, xs.all(b, xs.all(c, 1 / 0 == a)))".to_owned(),
        "xs.exists_one(a, xs.exists_one(b, xs.exists_one(c, a + b == c)))".to_owned(),
        "xs.filter(a, xs.filter(b, xs.filter(c, true).size() > 0).size() > 0)".to_owned(),
        "xs.exists(a, xs.exists(b, xs.exists(c, c == -1))) || true".to_owned(),
        doubling(40, ".map(v, [v, v])", "[1]"),
        doubling(40, ".map(v, {'a': v, 'b': v})", "['x']"),
        doubling(40, ".map(v, v + v)", "['aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa']"),
        doubling(40, ".map(v, v + v)", "[[1]]"),
        doubling(40, ".map(v, v + v)", "[b'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa']"),
        doubling(40, ".replace('a', 'aaaaaaaaaaaaaaaaaaaa')", "'aaaaaaaaaaaaaaaaa'"),
        format!("[{}]", ["big"; 200].join(",")),
        format!("{{{}}}", (0..200).map(|n| format!("{n}: big")).collect::<Vec<_>>().join(",")),
        ["big"; 240].join("+"),
        "xs.map(x, text).map(t, t + t)".to_owned(),
        "text.split('')".to_owned(),
        "text.replace('', text)".to_owned(),
        "text.indexOf(text + 'x')".to_owned(),
        "xs.map(x, text).join(text)".to_owned(),
        "lists.range(1000000).map(x, lists.range(1000000))".to_owned(),
        "big.distinct()".to_owned(),
        "big.all(x, x in big)".to_owned(),
        "big.exists(x, big + 1 == x)".to_owned(),
        "big.exists(x, big - 1 == x)".to_owned(),
        "big.exists(x, big < x)".to_owned(),
        "big.exists(x, {big: 1} == x)".to_owned(),
        "xs.exists(x, big == big && false)".to_owned(),
        "big.all(x, big.split('') == [])".to_owned(),
        "big.all(x, big.join(text) == '')".to_owned(),
        "big.all(x, big.indexOf(text) == 0)".to_owned(),
        "big.all(x, 'a'.matches(text))".to_owned(),
        "big.exists(x, {'a': 1}[big] == x)".to_owned(),
        "xs.all(x, text.matches('(a|b)*$'))".to_owned(),
        "xs.map(x, optional.of(big))".to_owned(),
        "xs.map(x, {'k': big}[?'k'])".to_owned(),
        "xs.map(x, big.slice(0, 90000))".to_owned(),
        "xs.map(x, big.reverse())".to_owned(),
        "xs.map(x, big.sort())".to_owned(),
        "xs.map(x, base64.encode(bytes(text)))".to_owned(),
        "xs.all(x, size(text) == size(text))".to_owned(),
    ];
    for source in cases {
        let error = evaluate(&source).expect_err(&source);
        let limit = error.limit_name();
        assert!(matches!(limit, Some("steps" | "milliseconds" | "output" | "depth")), "{source}: {error}");
    }
}

#[test]
fn large_values_that_are_only_looked_at_cost_little() {
    for source in [
        "xs.all(x, size(big) == 100000)",
        "xs.all(x, big[x] == x)",
        "text.contains('abcdef') && text.startsWith('0') && text.size() == 1048576",
        "text.matches('[0-9]+[a-f]+$')",
        "xs.exists(x, x == 999) && xs.map(x, x + 1).filter(x, x > 999).size() == 1",
        "xs.map(x, {'a': x}).all(m, m.a >= 0)",
        "big.slice(0, 20000).all(x, !big[?1.5].hasValue() && !big[?double(x) + 0.5].hasValue())",
        "!big.slice(0, 20000).exists(x, big[0.5] == x || big[double(x) + 0.5] == x) || true",
    ] {
        assert_eq!(evaluate(source), Ok(Value::Bool(true)), "{source}");
    }
}

#[test]
fn text_that_is_too_much_is_refused() {
    let n = |count: usize, part: &str| part.repeat(count);
    let cases = [
        (n(10 << 20, "a"), "source_bytes"),
        (n(1_000, "("), "nesting"),
        (format!("{}1{}", n(1_000, "("), n(1_000, ")")), "nesting"),
        (format!("{}1{}", n(1_000, "["), n(1_000, "]")), "nesting"),
        (format!("{}1{}", n(1_000, "{1:"), n(1_000, "}")), "nesting"),
        (format!("{}1{}", n(500, "f("), n(500, ")")), "nesting"),
        (format!("{}1{}", n(500, "!("), n(500, ")")), "nesting"),
        (format!("{}1", n(500, "a?b:")), "nesting"),
        (format!("{}1{}", n(500, "a?"), n(500, ":b")), "nesting"),
        (format!("{}1", n(1_000, "1+")), "depth"),
        (format!("a{}", n(1_000, ".b")), "depth"),
        (format!("a{}", n(600, "[0]")), "depth"),
        (format!("a{}", n(600, ".f()")), "depth"),
        (format!("{}1", n(1_000, "-")), "depth"),
        (format!("{}true", n(1_000, "!")), "depth"),
        (format!("[{}]", n(3_000, "1,")), "tokens"),
        (format!("{}x", n(3_000, "x||")), "tokens"),
    ];
    for (source, limit) in cases {
        let shown = &source[..source.len().min(20)];
        assert_eq!(Program::compile(&source).expect_err(shown).limit_name(), Some(limit), "{shown}");
    }
    let macros = format!("{}1{}", n(60, "[1].map(x,"), n(60, ")"));
    assert!(Program::compile(&macros).is_ok());
}

#[test]
fn what_the_specification_asks_for_compiles() {
    for nesting in [32, Limits::DEFAULT.nesting] {
        let source = format!("{}1{}", "(".repeat(nesting), ")".repeat(nesting));
        assert_eq!(evaluate(&source), Ok(Value::Int(1)), "{nesting} levels");
    }
    let ors = vec!["xs[0] == 1"; 200].join(" || ");
    assert_eq!(evaluate(&ors), Ok(Value::Bool(false)));
    let sum = vec!["1"; 200].join(" + ");
    assert_eq!(evaluate(&sum), Ok(Value::Int(200)));
}

#[test]
fn variables_have_limits_too() {
    let program = Program::compile("size(x) > 0").unwrap();
    let wide: Variables = [("x", numbers(1_000_001))].into_iter().collect();
    assert_eq!(program.evaluate(&wide).unwrap_err().limit_name(), Some("input"));
    let nested = (0..100).fold(Value::Null, |inner, _| Value::List(vec![inner]));
    let deep: Variables = [("x", nested)].into_iter().collect();
    assert_eq!(program.evaluate(&deep).unwrap_err().limit_name(), Some("value_depth"));
}

#[test]
fn deep_values_are_compared_and_returned() {
    assert_eq!(evaluate("deep == deep && [deep] != deep"), Ok(Value::Bool(true)));
    let nested = format!("[deep]{} == 1", ".map(v, [[v]])".repeat(60));
    assert_eq!(evaluate(&nested), Ok(Value::Bool(false)));
}

#[test]
fn the_outcome_is_an_error_whatever_absorbs_it() {
    let error = evaluate("true || xs.all(a, xs.all(b, xs.all(c, a + b + c >= 0)))");
    assert_eq!(error, Ok(Value::Bool(true)), "not evaluated at all");
    let error = evaluate("xs.all(a, xs.all(b, xs.all(c, a + b + c >= 0))) || true").unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Limit { .. }), "{error}");
}

#[test]
fn durations_and_timestamps_out_of_range_do_not_panic() {
    for source in [
        "timestamp('9999-12-31T23:59:59Z') + duration('8760h')",
        "timestamp('0001-01-01T00:00:00Z') - duration('1s')",
        "duration('9223372036s') + duration('9223372036s')",
        "timestamp(253402300800)",
        "timestamp('2025-01-01T00:00:00Z').getHours('Mars/Olympus')",
        "-(-9223372036854775807 - 1)",
        "(-9223372036854775807 - 1) / -1",
        "(-9223372036854775807 - 1) % -1",
        "math.abs(-9223372036854775807 - 1)",
        "int(1e300) + uint(-1)",
        "'abc'.substring(2, 1) + 'abc'.charAt(9)",
        "[1, 2].slice(1, 99)",
        "1 << 99",
    ] {
        let outcome = evaluate(source);
        let quiet = !matches!(&outcome, Err(error) if error.kind == ErrorKind::Internal);
        assert!(quiet, "{source}: {outcome:?}");
    }
}
