//! Everything that a template can call: Home Assistant's own, and of Jinja's what minijinja has, counted.

mod json;
pub(super) mod lists;
mod math;
pub(super) mod methods;
mod moments;
mod regexes;
mod states;
mod words;

use std::sync::Arc;

use minijinja::value::{Rest, Value, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, State, filters, functions, tests};

use super::arguments::Arguments;
use super::session::Session;
use super::{ops, text};

/// What stands behind a name.
#[derive(Clone, Copy)]
pub(super) enum Work {
    /// Ours.
    Own(fn(&Arc<Session>, &Arguments<'_>) -> Result<Value, Error>),
    /// Jinja's, as minijinja has it.
    Jinja(fn() -> Value),
}

use Work::{Jinja, Own};

/// By name: filters.
pub(super) const FILTERS: &[(&str, Work)] = &[
    ("abs", Jinja(|| Value::from_function(filters::abs))),
    ("acos", Own(|s, a| math::real(s, a, f64::acos))),
    ("add", Own(math::add)),
    ("area_entities", Own(states::area_entities)),
    ("as_datetime", Own(moments::as_datetime)),
    ("as_local", Own(moments::as_local)),
    ("as_timedelta", Own(moments::as_timedelta)),
    ("as_timestamp", Own(moments::as_timestamp)),
    ("asin", Own(|s, a| math::real(s, a, f64::asin))),
    ("atan", Own(|s, a| math::real(s, a, f64::atan))),
    ("atan2", Own(math::atan2)),
    ("attr", Jinja(|| Value::from_function(filters::attr))),
    ("average", Own(math::average)),
    ("base64_decode", Own(words::base64_decode)),
    ("base64_encode", Own(words::base64_encode)),
    ("batch", Own(lists::batch)),
    ("bitwise_and", Own(math::bitwise_and)),
    ("bitwise_or", Own(math::bitwise_or)),
    ("bitwise_xor", Own(math::bitwise_xor)),
    ("bool", Own(math::bool)),
    ("capitalize", Jinja(|| Value::from_function(filters::capitalize))),
    ("center", Own(words::center)),
    ("clamp", Own(math::clamp)),
    ("combine", Own(lists::combine)),
    ("contains", Own(lists::contains)),
    ("cos", Own(|s, a| math::real(s, a, f64::cos))),
    ("count", Own(lists::length)),
    ("d", Jinja(|| Value::from_function(filters::default))),
    ("default", Jinja(|| Value::from_function(filters::default))),
    ("device_entities", Own(states::device_entities)),
    ("dictsort", Jinja(|| Value::from_function(filters::dictsort))),
    ("difference", Own(lists::difference)),
    ("e", Own(words::escape)),
    ("escape", Own(words::escape)),
    ("expand", Own(states::expand)),
    ("first", Jinja(|| Value::from_function(filters::first))),
    ("flatten", Own(lists::flatten)),
    ("float", Own(math::float)),
    ("forceescape", Own(words::escape)),
    ("format", Own(words::format)),
    ("from_json", Own(json::from_json)),
    ("groupby", Jinja(|| Value::from_function(filters::groupby))),
    ("has_value", Own(states::has_value)),
    ("iif", Own(lists::iif)),
    ("indent", Own(words::indent)),
    ("int", Own(math::int)),
    ("intersect", Own(lists::intersect)),
    ("is_defined", Own(lists::is_defined)),
    ("is_number", Own(math::is_number)),
    ("items", Jinja(|| Value::from_function(filters::items))),
    ("join", Own(lists::join)),
    ("label_entities", Own(states::label_entities)),
    ("last", Jinja(|| Value::from_function(filters::last))),
    ("length", Own(lists::length)),
    ("list", Own(lists::list)),
    ("log", Own(math::log)),
    ("lower", Jinja(|| Value::from_function(filters::lower))),
    ("map", Jinja(|| Value::from_function(filters::map))),
    ("max", Own(math::max)),
    ("median", Own(math::median)),
    ("min", Own(math::min)),
    ("multiply", Own(math::multiply)),
    ("ord", Own(words::ord)),
    ("ordinal", Own(words::ordinal)),
    ("regex_findall", Own(regexes::findall)),
    ("regex_findall_index", Own(regexes::findall_index)),
    ("regex_match", Own(regexes::matches)),
    ("regex_replace", Own(regexes::replace)),
    ("regex_search", Own(regexes::search)),
    ("reject", Jinja(|| Value::from_function(filters::reject))),
    ("rejectattr", Jinja(|| Value::from_function(filters::rejectattr))),
    ("relative_time", Own(moments::relative_time)),
    ("remap", Own(math::remap)),
    ("replace", Own(words::replace)),
    ("reverse", Jinja(|| Value::from_function(filters::reverse))),
    ("round", Own(math::round)),
    ("safe", Own(words::safe)),
    ("select", Jinja(|| Value::from_function(filters::select))),
    ("selectattr", Jinja(|| Value::from_function(filters::selectattr))),
    ("sin", Own(|s, a| math::real(s, a, f64::sin))),
    ("slice", Own(lists::slice)),
    ("slugify", Own(words::slugify)),
    ("sort", Jinja(|| Value::from_function(filters::sort))),
    ("split", Own(words::split)),
    ("sqrt", Own(|s, a| math::real(s, a, f64::sqrt))),
    ("state_attr", Own(states::state_attr)),
    ("states", Own(states::states)),
    ("statistical_mode", Own(math::statistical_mode)),
    ("string", Own(words::string)),
    ("sum", Own(math::sum)),
    ("symmetric_difference", Own(lists::symmetric_difference)),
    ("tan", Own(|s, a| math::real(s, a, f64::tan))),
    ("time_since", Own(moments::time_since)),
    ("time_until", Own(moments::time_until)),
    ("timedelta_string", Own(moments::timedelta_string)),
    ("timestamp_custom", Own(moments::timestamp_custom)),
    ("timestamp_local", Own(moments::timestamp_local)),
    ("timestamp_utc", Own(moments::timestamp_utc)),
    ("title", Jinja(|| Value::from_function(filters::title))),
    ("to_json", Own(json::to_json)),
    ("today_at", Own(moments::today_at)),
    ("tojson", Own(json::to_json)),
    ("trim", Jinja(|| Value::from_function(filters::trim))),
    ("truncate", Own(words::truncate)),
    ("typeof", Own(words::type_of)),
    ("union", Own(lists::union)),
    ("unique", Jinja(|| Value::from_function(filters::unique))),
    ("upper", Jinja(|| Value::from_function(filters::upper))),
    ("urlencode", Own(words::urlencode)),
    ("wordcount", Own(words::wordcount)),
    ("wrap", Own(math::wrap)),
];

/// By name: functions.
pub(super) const FUNCTIONS: &[(&str, Work)] = &[
    ("acos", Own(|s, a| math::real(s, a, f64::acos))),
    ("area_entities", Own(states::area_entities)),
    ("as_datetime", Own(moments::as_datetime)),
    ("as_local", Own(moments::as_local)),
    ("as_timedelta", Own(moments::as_timedelta)),
    ("as_timestamp", Own(moments::as_timestamp)),
    ("asin", Own(|s, a| math::real(s, a, f64::asin))),
    ("atan", Own(|s, a| math::real(s, a, f64::atan))),
    ("atan2", Own(math::atan2)),
    ("average", Own(math::average)),
    ("bitwise_and", Own(math::bitwise_and)),
    ("bitwise_or", Own(math::bitwise_or)),
    ("bitwise_xor", Own(math::bitwise_xor)),
    ("bool", Own(math::bool)),
    ("clamp", Own(math::clamp)),
    ("combine", Own(lists::combine)),
    ("cos", Own(|s, a| math::real(s, a, f64::cos))),
    ("device_entities", Own(states::device_entities)),
    ("dict", Own(lists::dict)),
    ("difference", Own(lists::difference)),
    ("distance", Own(states::distance)),
    ("expand", Own(states::expand)),
    ("flatten", Own(lists::flatten)),
    ("float", Own(math::float)),
    ("has_value", Own(states::has_value)),
    ("iif", Own(lists::iif)),
    ("int", Own(math::int)),
    ("intersect", Own(lists::intersect)),
    ("is_number", Own(math::is_number)),
    ("is_state", Own(states::is_state)),
    ("is_state_attr", Own(states::is_state_attr)),
    ("label_entities", Own(states::label_entities)),
    ("log", Own(math::log)),
    ("max", Own(math::max)),
    ("median", Own(math::median)),
    ("min", Own(math::min)),
    ("namespace", Jinja(|| Value::from_function(functions::namespace))),
    ("now", Own(moments::now)),
    ("range", Own(lists::range)),
    ("relative_time", Own(moments::relative_time)),
    ("remap", Own(math::remap)),
    ("set", Own(lists::set)),
    ("sin", Own(|s, a| math::real(s, a, f64::sin))),
    ("slugify", Own(words::slugify)),
    ("sqrt", Own(|s, a| math::real(s, a, f64::sqrt))),
    ("state_attr", Own(states::state_attr)),
    ("statistical_mode", Own(math::statistical_mode)),
    ("strptime", Own(moments::strptime)),
    ("symmetric_difference", Own(lists::symmetric_difference)),
    ("tan", Own(|s, a| math::real(s, a, f64::tan))),
    ("time_since", Own(moments::time_since)),
    ("time_until", Own(moments::time_until)),
    ("timedelta", Own(moments::timedelta)),
    ("timedelta_string", Own(moments::timedelta_string)),
    ("today_at", Own(moments::today_at)),
    ("tuple", Own(lists::tuple)),
    ("typeof", Own(words::type_of)),
    ("union", Own(lists::union)),
    ("urlencode", Own(words::urlencode)),
    ("utcnow", Own(moments::utcnow)),
    ("wrap", Own(math::wrap)),
    ("zip", Own(lists::zip)),
];

/// By name: what stands behind `is`.
pub(super) const TESTS: &[(&str, Work)] = &[
    ("!=", Own(|s, a| compare("__ne", s, a))),
    ("==", Own(|s, a| compare("__eq", s, a))),
    ("boolean", Jinja(|| Value::from_function(tests::is_boolean))),
    ("contains", Own(lists::contains)),
    ("datetime", Own(moments::is_datetime)),
    ("defined", Jinja(|| Value::from_function(tests::is_defined))),
    (
        "divisibleby",
        Jinja(|| Value::from_function(tests::is_divisibleby)),
    ),
    ("eq", Own(|s, a| compare("__eq", s, a))),
    ("equalto", Own(|s, a| compare("__eq", s, a))),
    ("even", Jinja(|| Value::from_function(tests::is_even))),
    ("false", Jinja(|| Value::from_function(tests::is_false))),
    ("float", Jinja(|| Value::from_function(tests::is_float))),
    ("ge", Own(|s, a| compare("__ge", s, a))),
    ("greaterthan", Own(|s, a| compare("__gt", s, a))),
    ("gt", Own(|s, a| compare("__gt", s, a))),
    ("has_value", Own(states::has_value)),
    ("in", Own(|s, a| compare("__in", s, a))),
    ("integer", Jinja(|| Value::from_function(tests::is_integer))),
    ("is_number", Own(math::is_number)),
    ("is_state", Own(states::is_state)),
    ("is_state_attr", Own(states::is_state_attr)),
    ("iterable", Jinja(|| Value::from_function(tests::is_iterable))),
    ("le", Own(|s, a| compare("__le", s, a))),
    ("lessthan", Own(|s, a| compare("__lt", s, a))),
    ("list", Own(lists::is_list)),
    ("lower", Jinja(|| Value::from_function(tests::is_lower))),
    ("lt", Own(|s, a| compare("__lt", s, a))),
    ("mapping", Jinja(|| Value::from_function(tests::is_mapping))),
    ("match", Own(regexes::matches)),
    ("ne", Own(|s, a| compare("__ne", s, a))),
    ("none", Jinja(|| Value::from_function(tests::is_none))),
    ("number", Jinja(|| Value::from_function(tests::is_number))),
    ("odd", Jinja(|| Value::from_function(tests::is_odd))),
    ("sameas", Own(lists::same_as)),
    ("search", Own(regexes::search)),
    ("sequence", Jinja(|| Value::from_function(tests::is_sequence))),
    ("string", Jinja(|| Value::from_function(tests::is_string))),
    ("string_like", Jinja(|| Value::from_function(tests::is_string))),
    ("true", Jinja(|| Value::from_function(tests::is_true))),
    ("tuple", Own(lists::is_tuple)),
    ("undefined", Jinja(|| Value::from_function(tests::is_undefined))),
    ("upper", Jinja(|| Value::from_function(tests::is_upper))),
];

/// Makes all of it known to an environment that knows nothing yet.
pub(super) fn register(environment: &mut Environment<'static>) {
    for (name, work) in FILTERS {
        match work {
            Own(work) => environment.add_filter(*name, own(*work)),
            Jinja(make) => environment.add_filter(*name, jinja(make())),
        }
    }
    for (name, work) in TESTS {
        match work {
            Own(work) => environment.add_test(*name, own(*work)),
            Jinja(make) => environment.add_test(*name, jinja(make())),
        }
    }
    for (name, work) in FUNCTIONS {
        match work {
            Own(work) => environment.add_function(*name, own(*work)),
            Jinja(make) => environment.add_function(*name, jinja(make())),
        }
    }
    for name in ops::NAMES {
        environment.add_function(name, move |state: &mut State<'_, '_>, args: Rest<Value>| {
            ops::operate_all(name, state, &args.0)
        });
    }
    environment.add_global("pi", std::f64::consts::PI);
    environment.add_global("e", std::f64::consts::E);
    environment.add_global("tau", std::f64::consts::TAU);
    environment.set_unknown_method_callback(|state, value, method, args| {
        let session = Session::of(state)?;
        methods::call(&session, value, method, args)
    });
}

type Callable = fn(&Arc<Session>, &Arguments<'_>) -> Result<Value, Error>;

fn own(
    work: Callable,
) -> impl Fn(&mut State<'_, '_>, Rest<ValueOrKwargs>) -> Result<Value, Error> + Send + Sync + 'static {
    move |state, args| {
        let session = Session::of(state)?;
        session.spend(1)?;
        let args = args.into_values();
        work(&session, &Arguments::of(&args)?)
    }
}

/// One of minijinja's, with what goes in and comes out counted. What it would make when asked for is made at once.
fn jinja(
    work: Value,
) -> impl Fn(&mut State<'_, '_>, Rest<ValueOrKwargs>) -> Result<Value, Error> + Send + Sync + 'static {
    move |state, args| {
        let session = Session::of(state)?;
        session.spend(1)?;
        let args = args.into_values();
        for arg in args.iter().filter(|arg| !arg.is_kwargs()) {
            text::weigh(arg, &session)?;
        }
        let made = work.call(state, &args)?;
        if made.kind() == ValueKind::Iterable && made.as_object().is_some() && !text::is_store(&made) {
            return Ok(Value::from(ops::list(&made, &session)?));
        }
        if !text::is_store(&made) {
            text::weigh(&made, &session)?;
        }
        Ok(made)
    }
}

fn compare(name: &str, session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    ops::compare(name, args.must("value", 0)?, args.must("other", 1)?, session)
}
