//! What filters, functions, tests and methods do, and that every name of Home Assistant's is known or refused.

use crate::template::Templates;
use crate::template::functions::methods;
use crate::template::tests::{all, refused, text};

#[test]
fn lists_are_put_together_and_taken_apart() {
    all(&[
        (
            "{{ [1, 2, 2, 3] | intersect([3, 2, 5]) }} {{ intersect([1], [2]) }}",
            "[2, 3] []",
        ),
        (
            "{{ [1, 2, 2, 3] | difference([3]) }} {{ difference(['b', 'a'], ['a']) }}",
            "[1, 2] ['b']",
        ),
        ("{{ [1, 2] | union([2, 3]) }} {{ union([], []) }}", "[1, 2, 3] []"),
        (
            "{{ [1, 2] | symmetric_difference([2, 3]) }} {{ symmetric_difference([1], [1]) }}",
            "[1, 3] []",
        ),
        ("{{ set([3, 1, 3]) }} {{ set() }}", "[3, 1] []"),
        ("{{ tuple([1, 2]) }} {{ (1,) }} {{ () }}", "(1, 2) (1,) ()"),
        (
            "{{ (1, 2) is tuple }} {{ [1] is tuple }} {{ (1, 2) is list }} {{ [1] is list }}",
            "True False False True",
        ),
        (
            "{{ typeof((1, 2)) }} {{ typeof([1]) }} {{ 5 | typeof }}",
            "tuple list int",
        ),
        (
            "{{ (1, 2) + (3,) }} {{ (1, 2, 3)[1:] }} {{ (1, 2) * 2 }} {{ (1, 2)[-1] }}",
            "(1, 2, 3) (2, 3) (1, 2, 1, 2) 2",
        ),
        (
            "{{ 2 in (1, 2) }} {{ (1, 2) | max }} {{ (1, 2) | sum }}",
            "True 2 3",
        ),
        (
            "{{ zip([1, 2], 'ab' | list) | list }} {% for a, b in zip([1], [2]) %}{{ a + b }}{% endfor %}",
            "[(1, 'a'), (2, 'b')] 3",
        ),
        (
            "{{ [1, 2, 3, 4, 5] | batch(2) | list }} {{ [1, 2, 3] | batch(2, 0) | list }}",
            "[[1, 2], [3, 4], [5]] [[1, 2], [3, 0]]",
        ),
        (
            "{{ range(7) | slice(3) | list }} {{ range(7) | slice(3, 'x') | list }} {{ [1] | slice(3) | list }}",
            "[[0, 1, 2], [3, 4], [5, 6]] [[0, 1, 2], [3, 4, 'x'], [5, 6, 'x']] [[1], [], []]",
        ),
        (
            "{{ [[1], [2, 3]] | sum(start=[]) }} {{ [{'a': [1]}, {'a': [2]}] | sum('a', []) }} {{ [1, 2] | sum(start=10) }}",
            "[1, 2, 3] [1, 2] 13",
        ),
        (
            "{{ [1, 2] | statistical_mode }} {{ statistical_mode('a', 'b', 'b') }}",
            "1 b",
        ),
        (
            "{{ statistical_mode([], default=7) }} {{ [] | statistical_mode(8) }}",
            "7 8",
        ),
        (
            "{{ dict(a=1) }} {{ dict({'a': 1}, b=2) }} {{ dict([('a', 1), ['b', 2]]) }} {{ dict() }}",
            "{'a': 1} {'a': 1, 'b': 2} {'a': 1, 'b': 2} {}",
        ),
        (
            "{% set k = 'b' %}{{ dict({'a': 1}, **{k: 2}) }} {{ dict(a=1, **{'a': 2, 'c': 3}) }} {{ dict(**map) }}",
            "{'a': 1, 'b': 2} {'a': 2, 'c': 3} {'a': 2, 'b': 1}",
        ),
        ("{{ dict(zip(['a', 'b'], [1, 2])) }}", "{'a': 1, 'b': 2}"),
        (
            "{{ combine({'a': 1}, {'b': 2, 'a': 3}) }} {{ {'a': 1} | combine({'b': 2}) }}",
            "{'a': 3, 'b': 2} {'a': 1, 'b': 2}",
        ),
        (
            "{{ combine({'a': {'x': 1, 'y': 2}}, {'a': {'y': 3}}, recursive=True) }} {{ combine({'a': {'x': 1}}, {'a': {'y': 3}}) }}",
            "{'a': {'x': 1, 'y': 3}} {'a': {'y': 3}}",
        ),
        (
            "{{ [[1, 2], [3]] | flatten }} {{ flatten([[1, [2]]], 1) }}",
            "[1, 2, 3] [1, [2]]",
        ),
    ]);
    refused(&[
        (
            "{{ 'ab' | union(['a']) }}",
            "a list was asked for, and this is a text",
        ),
        (
            "{{ 5 | union([1]) }}",
            "a list was asked for, and this is a number",
        ),
        ("{{ [1] | union }}", "`other` is missing"),
        (
            "{{ combine({'a': 1}, [1]) }}",
            "mappings are put together here, and this is a list",
        ),
        ("{{ combine() }}", "`value` is missing"),
        ("{{ dict({}, {}) }}", "`combine(a, b)`"),
        ("{{ dict([1]) }}", "a list was asked for, and this is a number"),
        ("{{ dict([(1, 2, 3)]) }}", "a list of pairs"),
        (
            "{{ dict(**5) }}",
            "mappings are put together here, and this is a number",
        ),
        ("{{ range(**map) }}", "by `dict(a, **b)` alone"),
        ("{{ dict(*list) }}", "by `dict(a, **b)` alone"),
        ("{{ statistical_mode([]) }}", "nothing comes most often"),
        ("{{ [1] | batch(0) }}", "`batch` takes a number from 1 to 20000"),
        (
            "{{ [1] | batch(1000000000000, 0) }}",
            "`batch` takes a number from 1 to 20000",
        ),
        (
            "{{ [1] | slice(1000000000000) }}",
            "`slice` takes a number from 1 to 20000",
        ),
        (
            "{% set l = range(20000) | list %}{% for i in l %}{% set x = l | union(l) %}{% endfor %}",
            "a template may",
        ),
        (
            "{% set n = namespace(a=map) %}{% for i in range(99999) %}{% set n.a = combine(n.a, {'a': n.a}) %}{% endfor %}",
            "items",
        ),
    ]);
}

#[test]
fn numbers_are_worked_with_as_home_assistant_does() {
    all(&[
        (
            "{{ 15 | clamp(0, 10) }} {{ clamp(-5, 0, 10) }} {{ '5' | clamp(0, 10) }}",
            "10.0 0.0 5.0",
        ),
        (
            "{{ 370 | wrap(0, 360) }} {{ wrap(-10, 0, 360) }} {{ 5 | wrap(1, 1) }}",
            "10.0 350.0 1.0",
        ),
        (
            "{{ 128 | remap(0, 255, 0, 100) | round(1) }} {{ remap(300, 0, 255, 0, 100, edges='clamp') }}",
            "50.2 100.0",
        ),
        (
            "{{ remap(5, 0, 10, 0, 1, steps=4) }} {{ remap(12, 0, 10, 0, 10, edges='wrap') }} {{ remap(12, 0, 10, 0, 10, edges='mirror') }} {{ remap(-2, 0, 10, 0, 10, edges='mirror') }}",
            "0.5 2.0 8.0 2.0",
        ),
        (
            "{{ 5 | bitwise_xor(1) }} {{ bitwise_and(6, 3) }} {{ bitwise_or(6, 1) }} {{ bitwise_xor(3, 3) }}",
            "4 2 7 0",
        ),
        (
            "{{ atan2(1, 1) | round(4) }} {{ [1, 1] | atan2 | round(4) }} {{ atan2('x', 1, 7) }} {{ atan2(['x', 1], default=8) }}",
            "0.7854 0.7854 7 8",
        ),
        (
            "{{ asin(1) | round(4) }} {{ acos(1) }} {{ atan(0) }} {{ tau | round(4) }} {{ asin(5, 0) }}",
            "1.5708 0.0 0.0 6.2832 0",
        ),
        // What a number is exactly decides, as in Python.
        (
            "{{ 2.675 | round(2) }} {{ 0.125 | round(2) }} {{ 1.005 | round(2) }} {{ 2.5 | round }} {{ 3.5 | round }} {{ -2.5 | round }}",
            "2.67 0.12 1.0 2 4 -2",
        ),
        (
            "{{ 1234.5 | round(-2) }} {{ 21.456 | round(2) }} {{ 21.456 | round(2, 'floor') }} {{ 21.451 | round(2, 'ceil') }} {{ '7.25' | round(1) }}",
            "1200.0 21.46 21.45 21.46 7.2",
        ),
    ]);
    refused(&[
        ("{{ 'x' | clamp(0, 1) }}", "`value` has to be a number"),
        ("{{ 5 | clamp(0) }}", "`max_value` is missing"),
        ("{{ remap(1, 2, 2, 0, 1) }}", "`remap` takes a range"),
        (
            "{{ remap(1, 0, 2, 0, 1, edges='x') }}",
            "`remap` has no edges \"x\"",
        ),
        ("{{ atan2(1) }}", "`atan2` takes two numbers"),
        ("{{ 'a' | bitwise_xor(1) }}", "has to be a number"),
    ]);
}

#[test]
fn texts_are_worked_with_as_jinja_does() {
    all(&[
        (
            "[{{ 'ab' | center(7) }}] [{{ 'ab' | center(1) }}] [{{ 'abc' | center(6) }}]",
            "[   ab  ] [ab] [ abc  ]",
        ),
        ("{{ 'a\nb\n\nc' | indent(2) }}", "a\n  b\n\n  c"),
        ("{{ 'a\n\nb' | indent('> ', true, true) }}", "> a\n> \n> b"),
        (
            "{{ 'foo bar baz qux' | truncate(11) }} {{ 'foo bar baz qux' | truncate(9, leeway=0) }} {{ 'foo bar baz qux' | truncate(9, true, leeway=0) }}",
            "foo bar baz qux foo... foo ba...",
        ),
        (
            "{{ 'foo bar baz qux' | truncate(11, false, '…', 0) }}",
            "foo bar…",
        ),
        ("{{ \"it's a word, isn't it\" | wordcount }}", "7"),
        (
            "{{ '<a href=\"x\">&\\'' | escape }} {{ '<' | e }} {{ '<' | forceescape }} {{ '<b>' | safe }}",
            "&lt;a href=&#34;x&#34;&gt;&amp;&#39; &lt; &lt; <b>",
        ),
        (
            "{{ 'a b/ü&c' | urlencode }} {{ {'a b': 'ü/', 'c': 1} | urlencode }} {{ urlencode({'a': 1}) }}",
            "a%20b/%C3%BC%26c a+b=%C3%BC%2F&c=1 a=1",
        ),
        (
            "{{ 'Grüße' | base64_encode }} {{ 'R3LDvMOfZQ==' | base64_decode }} {{ 'aGk=' | base64_decode('ascii') }}",
            "R3LDvMOfZQ== Grüße hi",
        ),
        ("{{ 'a' | ord }} {{ 'é' | ord }}", "97 233"),
        (
            "{{ 5 | is_defined }} {{ 'x' is string_like }} {{ 5 is string_like }}",
            "5 True False",
        ),
        (
            "{{ true is sameas true }} {{ 1 is sameas true }} {{ 1 is sameas 1.0 }} {{ none is sameas none }}",
            "True False False True",
        ),
        (
            "{{ timedelta(hours=25, minutes=3) | timedelta_string }} {{ timedelta_string(timedelta(minutes=-90), 2) }} {{ 5 | timedelta_string }}",
            "1 day 1 hour 30 minutes 5",
        ),
        (
            "{{ distance('person.anna') | round(2) }} {{ distance(states.person.anna, 48.3, 16.4) }} {{ distance(48.2, 16.4, 48.3, 16.4) | round(2) }} {{ distance('light.hall') }} {{ distance('nobody.there') }}",
            "11.12 0.0 11.12 None None",
        ),
        (
            "{{ ['a-1', 'b-2'] | map('split', '-') | map('last') | map('int') | sum }} {{ ['x', 'y'] | map('upper') | join }}",
            "3 XY",
        ),
    ]);
    refused(&[
        (
            "{{ 'x' | indent(99999) }}",
            "`indent` takes a width of at most 1000",
        ),
        (
            "{{ ('\n' * 1000) | indent(1000, blank=true) }}",
            "a text grows beyond 256 KiB",
        ),
        (
            "{{ '!' | base64_decode }}",
            "`base64_decode` cannot read the text",
        ),
        ("{{ '/w==' | base64_decode }}", "bytes that are no text"),
        ("{{ 'aGk=' | base64_decode('latin1') }}", "of UTF-8 alone"),
        ("{{ 'ab' | ord }}", "a text of one character"),
        ("{{ nothing | is_defined }}", "not defined"),
        ("{{ distance(1) }}", "a latitude together with a longitude"),
        ("{{ distance() }}", "one or two places"),
    ]);
}

#[test]
fn methods_do_what_python_says() {
    all(&[
        (
            "{{ 'aBc dE'.upper() }} {{ 'aBc'.lower() }} {{ 'ß'.casefold() }} {{ 'aBc'.swapcase() }}",
            "ABC DE abc ss AbC",
        ),
        (
            "{{ 'hello wORLD'.title() }} {{ 'hELLO wORLD'.capitalize() }}",
            "Hello World Hello world",
        ),
        (
            "[{{ '  a '.strip() }}] [{{ 'xxaxx'.strip('x') }}] [{{ 'xxa'.lstrip('x') }}] [{{ 'axx'.rstrip('x') }}]",
            "[a] [a] [a] [a]",
        ),
        (
            "{{ 'a,b,c'.split(',') }} {{ 'a,b,c'.split(',', 1) }} {{ ' a  b c '.split() }} {{ ' a  b c '.split(none, 1) }}",
            "['a', 'b', 'c'] ['a', 'b,c'] ['a', 'b', 'c'] ['a', 'b c ']",
        ),
        (
            "{{ ' a  b  c '.split(maxsplit=2) }} {{ ''.split() }} {{ ''.split(',') }} {{ 'abc' | split('b') }}",
            "['a', 'b', 'c '] [] [''] ['a', 'c']",
        ),
        (
            "{{ 'a,b,c'.rsplit(',', 1) }} {{ ' a  b c '.rsplit(none, 1) }} {{ 'a b'.rsplit() }}",
            "['a,b', 'c'] [' a  b', 'c'] ['a', 'b']",
        ),
        (
            "{{ 'a=b=c'.partition('=') }} {{ 'a=b=c'.rpartition('=') }} {{ 'a'.partition('=') }} {{ 'a'.rpartition('=') }}",
            "('a', '=', 'b=c') ('a=b', '=', 'c') ('a', '', '') ('', '', 'a')",
        ),
        (
            "{{ 'a\nb'.splitlines() }} {{ 'aXbXc'.replace('X', '-') }} {{ 'aXbXc'.replace('X', '-', 1) }}",
            "['a', 'b'] a-b-c a-bXc",
        ),
        (
            "{{ 'light.kitchen'.startswith('light.') }} {{ 'abc'.endswith(('x', 'c')) }} {{ 'abc'.startswith('b') }}",
            "True True False",
        ),
        (
            "{{ 'abc'.removeprefix('a') }} {{ 'abc'.removesuffix('c') }} {{ 'abc'.removeprefix('x') }}",
            "bc ab abc",
        ),
        (
            "{{ 'übücü'.find('ü') }} {{ 'übücü'.rfind('ü') }} {{ 'abc'.find('x') }} {{ 'übc'.index('b') }} {{ 'üaüa'.rindex('a') }} {{ 'banana'.count('an') }}",
            "0 4 -1 1 3 2",
        ),
        (
            "{{ '12'.isdigit() }} {{ 'a1'.isalnum() }} {{ 'ab'.isalpha() }} {{ ' '.isspace() }} {{ 'é'.isascii() }} {{ ''.isdigit() }}",
            "True True True True False False",
        ),
        (
            "{{ 'ab'.islower() }} {{ 'AB'.isupper() }} {{ 'Ab Cd'.istitle() }} {{ '12'.isnumeric() }} {{ '12'.isdecimal() }}",
            "True True True True True",
        ),
        (
            "{{ ', '.join(['a', 1]) }} {{ '-7'.zfill(4) }} {{ '7'.zfill(3) }} [{{ 'a'.rjust(3) }}] [{{ 'a'.ljust(3, '.') }}] [{{ 'ab'.center(7, '*') }}]",
            "a, 1 -007 007 [  a] [a..] [***ab**]",
        ),
        (
            "{{ '{:02d}:{:02d}'.format(7, 5) }} {{ '{a}'.format(a='x') }}",
            "07:05 x",
        ),
        (
            "{{ map.get('a') }} {{ map.get('z') }} {{ map.get('z', 0) }} {{ map.keys() | list }} {{ map.values() | list }} {{ map.copy() }}",
            "2 None 0 ['a', 'b'] [2, 1] {'a': 2, 'b': 1}",
        ),
        (
            "{% for k, v in {'b': 1, 'a': 2}.items() %}{{ k }}{{ v }}{% endfor %} {{ {'b': 1, 'a': 2}.values() | sum }}",
            "b1a2 3",
        ),
        (
            "{{ list.index(1) }} {{ [1, 2, 1].count(1) }} {{ (1, 2).index(2) }} {{ list.copy() }}",
            "1 2 1 [3, 1, 2]",
        ),
        ("{{ (5.0).is_integer() }} {{ (5.5).is_integer() }}", "True False"),
        (
            "{{ now().strftime('%H:%M') }} {{ now().isoformat() }} {{ now().timestamp() }} {{ now().weekday() }} {{ now().isoweekday() }}",
            "12:00 2024-07-01T12:00:00+02:00 1719828000.0 0 1",
        ),
        (
            "{{ now().isocalendar()[1] }} {{ now().isocalendar().week }} {{ now().isocalendar().year }} {{ now().isocalendar() | list }}",
            "27 27 2024 [2024, 27, 1]",
        ),
        (
            "{{ now().timetuple().tm_yday }} {{ now().timetuple().tm_isdst }} {{ now().timetuple()[0] }} {{ now().toordinal() }}",
            "183 1 2024 739068",
        ),
        (
            "{{ now().utcoffset() }} {{ now().dst() }} {{ now().tzname() }} {{ utcnow().dst() }} {{ utcnow().utcoffset() }} {{ utcnow().tzname() }}",
            "2:00:00 1:00:00 CEST 0:00:00 0:00:00 UTC",
        ),
        (
            "{{ as_datetime('2024-01-05 10:00:00').utcoffset() }} {{ now().date().weekday() }} {{ now().replace(month=1).dst() }}",
            "None 0 0:00:00",
        ),
        (
            "{{ timedelta(minutes=90).total_seconds() }} {{ timedelta(days=2).days }} {{ now().hour }} {{ now().time() }}",
            "5400.0 2 12 12:00:00",
        ),
        (
            "{% for i in 'ab' | list %}{{ loop.cycle('x', 'y') }}{{ loop.changed(1) }}{% endfor %}",
            "xTrueyFalse",
        ),
    ]);
    refused(&[
        ("{{ 'abc'.index('x') }}", "not in the text"),
        ("{{ list.index(9) }}", "not in the list"),
        ("{{ 'a'.split('') }}", "`split` takes no empty text"),
        ("{{ 'a'.split(5) }}", "`sep` has to be a text"),
        ("{{ 5 .upper() }}", "a number has no method `upper`"),
        ("{{ list.upper() }}", "a list has no method `upper`"),
        ("{{ now().upper() }}", "a time has no method `upper`"),
        ("{{ none.upper() }}", "nothing (`None`) has no method `upper`"),
        (
            "{{ ('x' * 200000).center(300000) ~ ('x' * 200000) }}",
            "a text grows beyond 256 KiB",
        ),
    ]);
}

#[test]
fn every_method_that_is_taken_is_one() {
    let values = ["'x'", "{'a': 1}", "[1]", "5.0", "now()", "timedelta(1)"];
    for method in methods::all().filter(|method| !["changed", "cycle"].contains(method)) {
        let known = values.iter().any(|value| {
            let told = text(&format!("{{{{ ({value}).{method}() }}}}"));
            !told.contains("has no method") && !told.contains("there is no method")
        });
        assert!(known, "{method}");
    }
}

/// What Home Assistant and Jinja document, and the issue of each: known, or refused when it is loaded, with what to write
/// instead.
const FILTERS: &str = "abs acos add aliases apply area_devices area_entities area_id area_name as_datetime as_function as_local \
    as_timedelta as_timestamp asin atan atan2 attr average base64_decode base64_encode batch bitwise_and bitwise_or bitwise_xor \
    bool capitalize center clamp closest combine config_entry_attr config_entry_id contains cos count d default device_attr \
    device_entities device_id device_name dictsort difference e entity_name escape expand filesizeformat first flatten float \
    floor_areas floor_entities floor_id floor_name floors forceescape format from_hex from_json groupby has_value iif indent int \
    integration_entities intersect is_defined is_number issue items join label_areas label_description label_devices \
    label_entities label_id label_name labels last length list log lower map max md5 median min multiply natural_sort ord ordinal \
    pack pprint random regex_findall regex_findall_index regex_match regex_replace regex_search reject rejectattr relative_time \
    remap replace reverse round safe select selectattr sha1 sha256 sha512 shuffle sin slice slugify sort split sqrt state_attr \
    state_attr_translated state_translated states statistical_mode string striptags sum symmetric_difference tan time_since \
    time_until timedelta_string timestamp_custom timestamp_local timestamp_utc title to_json today_at tojson trim truncate typeof \
    union unique unpack upper urlencode urlize version wordcount wordwrap wrap xmlattr";

const FUNCTIONS: &str = "acos aliases apply area_devices area_entities area_id area_name areas as_datetime as_function as_local \
    as_timedelta as_timestamp asin assist_exposed_entities atan atan2 average bitwise_and bitwise_or bitwise_xor bool clamp closest \
    combine config_entry_attr config_entry_id cos cycler device_attr device_entities device_id device_name dict difference distance \
    entity_name expand flatten float floor_areas floor_entities floor_id floor_name floors has_value iif int integration_entities \
    intersect is_device_attr is_hidden_entity is_number is_state is_state_attr issue issues joiner label_areas label_description \
    label_devices label_entities label_id label_name labels lipsum log max md5 median merge_response min namespace natural_sort now \
    pack range relative_time remap set sha1 sha256 sha512 shuffle sin slugify sqrt state_attr state_attr_translated \
    state_translated states statistical_mode strptime symmetric_difference tan time_since time_until timedelta timedelta_string \
    today_at tuple typeof union unpack urlencode utcnow version wrap zip";

const TESTS: &str = "apply boolean callable contains datetime defined divisibleby eq equalto escaped even false filter float ge gt \
    greaterthan has_value in integer is_device_attr is_hidden_entity is_number is_state is_state_attr iterable le lessthan list \
    lower lt mapping match ne none number odd sameas search sequence set string string_like test true tuple undefined upper";

#[test]
fn every_name_of_home_assistants_is_known_or_refused_with_what_to_write_instead() {
    let templates = Templates::new();
    let mut refused = Vec::new();
    let mut check = |kind: &str, name: &str, template: String| {
        if let Err(error) = templates.check(&template) {
            let wanted = format!("`{name}` is not supported: ");
            assert!(error.what.starts_with(&wanted), "{kind} {name}: {error}");
            assert_eq!(error.line, 2, "{kind} {name}");
            refused.push(format!("{kind} {name}"));
        }
    };
    for name in FILTERS.split_whitespace() {
        check("filter", name, format!("\n{{{{ x | {name} }}}}"));
        check("filter", name, format!("\n{{{{ x | map('{name}') | list }}}}"));
    }
    for name in FUNCTIONS.split_whitespace() {
        check("function", name, format!("\n{{{{ {name}() }}}}"));
    }
    for name in TESTS.split_whitespace() {
        check("test", name, format!("\n{{{{ x is {name} }}}}"));
        check("test", name, format!("\n{{{{ x | select('{name}') | list }}}}"));
        check(
            "test",
            name,
            format!("\n{{{{ x | rejectattr('a', '{name}') | list }}}}"),
        );
    }
    let own = |word: &str| refused.iter().any(|name| name == word);
    assert!(own("filter area_name") && own("function closest") && own("test is_device_attr"));
    for wanted in [
        "filter format",
        "filter combine",
        "function distance",
        "test tuple",
    ] {
        assert!(!own(wanted), "{wanted}");
    }
}

#[test]
fn what_is_named_by_a_text_is_looked_for_when_it_is_loaded() {
    for (template, wanted) in [
        (
            "{{ x | map('rond') }}",
            "there is no filter `rond`; did you mean `round`?",
        ),
        (
            "{{ x | map('area_name') | list }}",
            "`area_name` is not supported: write the names out",
        ),
        (
            "{{ x | select('defind') }}",
            "there is no test `defind`; did you mean `defined`?",
        ),
        (
            "{{ x | reject('nothing_like_it') }}",
            "there is no test `nothing_like_it`",
        ),
        (
            "{{ x | selectattr('a', 'equals', 1) }}",
            "there is no test `equals`",
        ),
        (
            "{{ x | rejectattr('a', 'eqq', 1) }}",
            "there is no test `eqq`; did you mean `eq`?",
        ),
        (
            "{{ x.spilt(',') }}",
            "there is no method `spilt`; did you mean `split`?",
        ),
        (
            "{{ x.append(1) }}",
            "there is no method `append`: it changes a list",
        ),
        (
            "{% do x.update({}) %}",
            "there is no method `update`: it changes a mapping",
        ),
        (
            "{{ x.encode() }}",
            "there is no method `encode`: there are no bytes",
        ),
        ("{{ x is set }}", "`set` is not supported"),
    ] {
        let error = Templates::new().check(template).expect_err(template);
        assert!(error.what.contains(wanted), "{template}: {error}");
    }
    for template in [
        "{{ x | map(attribute='a') | list }}",
        "{{ x | map(y) | list }}",
        "{{ x | map('round', 1) | select | list }}",
        "{{ x | selectattr('a') | rejectattr('b', '==', 1) | list }}",
    ] {
        assert_eq!(Templates::new().check(template), Ok(()), "{template}");
    }
}
