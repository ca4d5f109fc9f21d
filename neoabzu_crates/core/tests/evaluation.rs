//! What expressions evaluate to, and where their errors point.

use neoabzu_core::{Error, ErrorKind, Key, Position, Program, Value, Variables};

fn evaluate<'v>(
    source: &str,
    variables: impl IntoIterator<Item = (&'v str, Value<'v>)>,
) -> Result<Value<'static>, Error> {
    Program::compile(source)?.evaluate(&variables.into_iter().collect())
}

fn value(source: &str) -> Value<'static> {
    evaluate(source, []).unwrap_or_else(|error| panic!("{source}: {error}"))
}

fn failure(source: &str) -> Error {
    evaluate(source, [("a", Value::from([("b", 1)])), ("xs", Value::from(vec![1, 2, 3]))]).expect_err(source)
}

#[test]
fn every_type_comes_out() {
    assert_eq!(value("null"), Value::Null);
    assert_eq!(value("1 < 2"), Value::Bool(true));
    assert_eq!(value("2 * 3 - 7"), Value::Int(-1));
    assert_eq!(value("2u + 1u"), Value::Uint(3));
    assert_eq!(value("1.0 / 0.0"), Value::Float(f64::INFINITY));
    assert_eq!(value("'a' + \"b\""), Value::from("ab"));
    assert_eq!(value("b'\\xff'"), Value::Bytes(vec![255].into()));
    assert_eq!(value("[1, 'a']"), Value::List(vec![Value::Int(1), Value::from("a")]));
    assert_eq!(
        value("{'b': 1, 'a': 2}"),
        Value::Map(vec![(Key::String("a".into()), Value::Int(2)), (Key::String("b".into()), Value::Int(1))])
    );
    assert_eq!(value("duration('90s')"), Value::Duration(chrono::Duration::seconds(90)));
    assert_eq!(value("timestamp('2025-09-21T00:00:00Z').getFullYear()"), Value::Int(2025));
    assert_eq!(value("type(1)"), Value::Type("int".into()));
    assert_eq!(value("optional.of(1)"), Value::Int(1));
    assert_eq!(value("optional.none()"), Value::Null);
}

#[test]
fn values_go_in_unchanged() {
    let deep = Value::from([("list", Value::from(vec![Value::Null, Value::Bool(true), Value::Float(0.5)]))]);
    assert_eq!(evaluate("x", [("x", deep.clone())]), Ok(deep));
    assert_eq!(evaluate("x == 18446744073709551615u", [("x", Value::Uint(u64::MAX))]), Ok(Value::Bool(true)));
    assert_eq!(evaluate("size(x) == 2", [("x", Value::from("é€"))]), Ok(Value::Bool(true)));
    assert_eq!(evaluate("a.b", [("a.b", Value::Int(1)), ("a", Value::from([("b", 2)]))]), Ok(Value::Int(1)));
}

#[test]
fn metered_and_plain_evaluation_agree() {
    // Loops are always metered; the same without one is not.
    let cases = [
        ("[1, 2, 3].map(x, x * 2)", "[2, 4, 6]"),
        ("[1, 2, 3].filter(x, x > 1)", "[2, 3]"),
        ("[1, 2, 3].map(x, x > 1, [x])", "[[2], [3]]"),
        ("[1, 2].all(x, x > 0) && [1, 2].exists(x, x == 2) && [1, 2].exists_one(x, x == 2)", "true"),
        ("[1, 0].exists(x, 1 / x == 1)", "true"),
        ("[0, 1].all(x, 1 / x == 0)", "false"),
        ("{'a': 1}.map(k, k + '!')", "['a!']"),
        ("'a-b-c'.replace('-', '+')", "'a+b+c'"),
        ("'a-b-c'.replace('-', '+', 1)", "'a+b-c'"),
        ("['a', 'b'].join(', ')", "'a, b'"),
        ("'abcabc'.indexOf('c', 3) + 'abc'.lastIndexOf('c')", "7"),
        ("'a b'.split(' ').map(w, w.upperAscii())", "['A', 'B']"),
        ("lists.range(4).map(i, i * i)", "[0, 1, 4, 9]"),
        ("[3, 1, 2].sort() + [1, 1].distinct() + [[1], [2]].flatten()", "[1, 2, 3, 1, 1, 2]"),
        ("[{'n': 2}, {'n': 1}].sortBy(e, e.n).map(e, e.n)", "[1, 2]"),
        ("[1, 2].map(x, [x].map(y, y + x))", "[[2], [4]]"),
        ("{'a': [1, 2]}.a.map(x, x in [2])", "[false, true]"),
        ("[1, 2].map(x, optional.of(x).orValue(0))", "[1, 2]"),
        ("optional.of(2).optMap(v, v * 2).orValue(0)", "4"),
        ("[{'a': 1}].map(m, m[?'a'].orValue(0) + m.?b.orValue(5))", "[6]"),
        ("[1.0, 2.0].map(d, [7, 8, 9][d])", "[8, 9]"),
        ("math.greatest(1, 2, 3) + math.abs(-1)", "4"),
        ("base64.encode(b'hi') + strings.quote('x')", "'aGk=\"x\"'"),
        ("'%d-%s'.format([1, 'x'])", "'1-x'"),
        (
            "cel.bind(x, 2, [1, 2].map(y, y * x)) == [2, 4] && cel.bind(a, 1, cel.bind(b, a + 1, b)) == 2",
            "true",
        ),
    ];
    for (source, same) in cases {
        assert_eq!(value(source), value(same), "{source}");
    }
}

#[test]
fn milliseconds_are_those_below_a_second() {
    for (source, expected) in [
        ("duration('123.321s').getMilliseconds()", 321),
        ("[duration('-1.5s')].map(d, d.getMilliseconds())[0]", -500),
        ("timestamp('2023-05-28T00:00:42.123Z').getMilliseconds()", 123),
        ("timestamp('2023-05-28T00:00:42.123Z').getMilliseconds('UTC')", 123),
    ] {
        assert_eq!(value(source), Value::Int(expected), "{source}");
    }
}

#[test]
fn matches_is_ours_in_both_forms() {
    for source in ["'abc'.matches('b')", "matches('abc', '^a')", "['x1'].all(s, s.matches('[0-9]'))"] {
        assert_eq!(value(source), Value::Bool(true), "{source}");
    }
    let error = failure("'a'.matches('(')");
    assert_eq!(
        (error.kind, error.message.as_str()),
        (ErrorKind::Evaluation, "matches: not a regular expression: unclosed group")
    );
}

#[test]
fn errors_say_what_and_where() {
    let cases = [
        ("1 + ", "the expression ends too early", 4),
        ("", "the expression is empty", 0),
        ("  ", "the expression is empty", 2),
        ("f(1", "'(' is not closed", 1),
        ("x == 'abc", "the string is not closed", 5),
        ("a.b @ 1", "unknown character '@'", 4),
        ("1 2", "unexpected '2'", 2),
        ("true && missing", "'missing' is not defined", 8),
        ("a.c", "there is no key 'c'", 1),
        ("a.b.c", "int has no fields", 3),
        ("a.b + 'x'", "'+' is not defined for int and string", 4),
        ("a.b > 'x'", "'>' is not defined for int and string", 4),
        ("a.b.size()", "'size' is not a method of int", 4),
        ("nosuch(1)", "'nosuch' is not defined", 0),
        ("a.nosuch(1)", "'nosuch' is not defined", 2),
        ("1 / (a.b - 1)", "division by zero", 2),
        ("9223372036854775807 + a.b", "'+' overflows", 20),
        ("xs[7]", "the index is out of bounds", 2),
        ("xs['a']", "list cannot be indexed with string", 2),
        ("{1: 2, 1: 3}", "the map has a key twice", 0),
        ("!a", "'!' is not defined for (map)", 0),
        ("xs.map(x, x + missing)", "'missing' is not defined", 14),
        ("xs.map(x, x.y)", "int has no fields", 11),
        ("xs.all(x, 1 / (x - x) > 0)", "division by zero", 12),
        ("cel.bind(1, 2, 3)", "cel.bind takes a name first", 9),
        ("other.bind(c, 2, c)", "'c' is not defined", 11),
        ("a.b ? 1 : 2", "expected bool, found int", 4),
        ("int('x')", "'int' is not defined for this value", 0),
        ("'é' == a.é", "unknown character 'é'", 9),
        ("'é€' + a.c", "there is no key 'c'", 8),
        ("a.b == 1\n  && a.c", "there is no key 'c'", 15),
    ];
    let mut wrong = Vec::new();
    for (source, message, offset) in cases {
        let error = failure(source);
        let found = error.position.map(|at| at.offset);
        if (error.message.as_str(), found) != (message, Some(offset)) {
            wrong.push(format!("{source:?}: {:?} at {found:?}, not {message:?} at {offset}", error.message));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(failure("a.b == 1\n  && a.c").position, Some(Position { line: 2, column: 7, offset: 15 }));
}

#[test]
fn messages_hold_no_values() {
    let secret = Value::from("hunter2");
    for source in [
        "s + 1",
        "s - s",
        "-s",
        "s < 1",
        "s.x",
        "s[0]",
        "[1][s]",
        "{s: 1, s: 2}",
        "{[s]: 1}",
        "int(s)",
        "timestamp(s)",
        "s ? 1 : 2",
        "s.nosuch()",
        "[s] + s",
        "s in s",
        "[1].all(x, s)",
        "duration(s)",
        "s.substring(99)",
        "'%d'.format([s])",
        "{'a': s}.b",
        "{'a': s}[s]",
        "[[s]][0][s]",
        "s.matches(1)",
    ] {
        let error = evaluate(source, [("s", secret.clone())]).expect_err(source);
        // A missing key is named: it is a name, and usually one the expression holds.
        let named = source == "{'a': s}[s]";
        assert!(named || !error.to_string().contains("hunter2"), "{source}: {error}");
    }
}

#[test]
fn references_are_the_variables() {
    let references = |source: &str| Program::compile(source).unwrap().references().join(" ");
    assert_eq!(references("env.A == 'x' && b[c] > d.e.f"), "b c d env");
    assert_eq!(references("xs.filter(x, x > y).size() > int(z)"), "xs y z");
    assert_eq!(references("type(a) == int && math.abs(b) > 1"), "a b");
    assert_eq!(references("type(t) == google.protobuf.Timestamp"), "t");
    assert_eq!(references("math + 1"), "math");
    assert_eq!(references("1 + 1"), "");
}

#[test]
fn check_finds_unknown_names_and_bad_patterns() {
    let check = |source: &str| {
        let program = Program::compile(source).unwrap();
        program.check(Some(&|name: &str| ["env", "layer"].contains(&name))).map_err(|error| error.to_string())
    };
    for source in [
        "env.A == layer",
        "[1].all(x, x > 0)",
        "type(env) == map",
        "math.greatest(1, 2) == 2 && 'a'.matches('b')",
        "has(env.X) ? env.X.orValue(1) : -1 % 2",
        "env.x in [1] || !true && env[?'x'].hasValue()",
        "optional.of(1).optMap(x, x).value() + lists.range(3).sortBy(x, -x)[0]",
    ] {
        assert_eq!(check(source), Ok(()), "{source}");
    }
    let faults = [
        ("enw.A", "line 1, column 1: there is no variable 'enw'"),
        ("env.A.startWith('x')", "line 1, column 7: there is no method 'startWith'"),
        ("siez(env)", "line 1, column 1: there is no function 'siez'"),
        ("math.bas(1)", "line 1, column 6: there is no function 'math.bas'"),
        ("[1].all(x, x > y)", "line 1, column 16: there is no variable 'y'"),
        ("layer.matches('(')", "line 1, column 15: not a regular expression: unclosed group"),
    ];
    for (source, fault) in faults {
        assert_eq!(check(source), Err(fault.to_owned()), "{source}");
    }
    assert_eq!(Program::compile("enw.A").unwrap().check(None), Ok(()));
}

#[test]
fn the_names_of_a_long_list_are_sorted_and_complete() {
    let names: Vec<String> = (0..1300).rev().map(|n| format!("name{n:04}")).collect();
    let source = format!("[{}, google.protobuf.Timestamp, math.abs(x)]", names.join(","));
    let program = Program::compile(&source).unwrap();
    let mut expected = names.clone();
    expected.push("x".to_owned());
    expected.sort_unstable();
    assert_eq!(program.references(), expected);
    assert_eq!(program.shape().variables[..2].iter().map(|part| &*part.name).collect::<Vec<_>>(), names[..2]);
}

#[test]
fn only_small_work_is_brief() {
    let brief = |source: &str, variables: &Variables<'_>| {
        Program::compile(source).unwrap().is_brief(variables.size())
    };
    let small: Variables<'_> = [("x", Value::from("a"))].into_iter().collect();
    let large: Variables<'_> = [("x", Value::from(vec![1; 1000]))].into_iter().collect();
    assert!(brief("x == 'a' && x.startsWith('b')", &small));
    assert!(brief("[1, 2].exists(y, y == x)", &small));
    assert!(!brief("x == x", &large));
    assert!(!brief("x.matches('^a{1,9}$')", &small), "this thread has not compiled the pattern");
    let program = Program::compile("x.matches('^a{1,9}$')").unwrap();
    assert_eq!(program.evaluate(&small), Ok(Value::Bool(true)));
    assert!(program.is_brief(small.size()) && !brief("x.matches(x)", &small));
    assert!(!program.is_brief(200), "the text is too long for the pattern");
    assert!(!brief("lists.range(100000).size() > x", &small));
}
