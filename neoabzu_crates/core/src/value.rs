//! Values as they go in and come out, independent of the evaluator's own types.

use std::borrow::Cow;
use std::collections::HashMap;

use cel::common::types::{
    CelBool, CelBytes, CelDouble, CelDuration, CelInt, CelList, CelMap, CelMapKey, CelNull, CelOptional,
    CelString, CelTimestamp, CelType, CelUInt, Kind,
};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use chrono::{DateTime, Duration, FixedOffset};

use crate::cost;
use crate::error::Error;
use crate::limits::Limits;

/// A CEL value. Text may be borrowed for `'v`.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'v> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    String(Cow<'v, str>),
    Bytes(Cow<'v, [u8]>),
    List(Vec<Value<'v>>),
    /// In a result, ordered by key.
    Map(Vec<(Key<'v>, Value<'v>)>),
    Timestamp(DateTime<FixedOffset>),
    Duration(Duration),
    /// The name of a type; only in results.
    Type(String),
}

/// A key of a map.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key<'v> {
    Bool(bool),
    Int(i64),
    Uint(u64),
    String(Cow<'v, str>),
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Value::Int(value)
    }
}

impl From<f64> for Value<'_> {
    fn from(value: f64) -> Self {
        Value::Float(value)
    }
}

impl<'v> From<&'v str> for Value<'v> {
    fn from(value: &'v str) -> Self {
        Value::String(Cow::Borrowed(value))
    }
}

impl From<String> for Value<'_> {
    fn from(value: String) -> Self {
        Value::String(Cow::Owned(value))
    }
}

impl<'v, T: Into<Value<'v>>> From<Vec<T>> for Value<'v> {
    fn from(items: Vec<T>) -> Self {
        Value::List(items.into_iter().map(Into::into).collect())
    }
}

impl<'v, T: Into<Value<'v>>, const N: usize> From<[(&'v str, T); N]> for Value<'v> {
    fn from(items: [(&'v str, T); N]) -> Self {
        let entry = |(key, value): (&'v str, T)| (Key::String(Cow::Borrowed(key)), value.into());
        Value::Map(items.into_iter().map(entry).collect())
    }
}

impl<'v> Value<'v> {
    fn into_val(self, size: &mut u64, depth: usize, deepest: &mut usize) -> Box<dyn Val + 'v> {
        *size += 1;
        *deepest = depth.max(*deepest);
        match self {
            Value::Null => Box::new(CelNull),
            Value::Bool(value) => Box::new(CelBool::from(value)),
            Value::Int(value) => Box::new(CelInt::from(value)),
            Value::Uint(value) => Box::new(CelUInt::from(value)),
            Value::Float(value) => Box::new(CelDouble::from(value)),
            Value::String(text) => {
                *size += (text.len() / cost::TEXT_PER_STEP) as u64;
                Box::new(CelString::from(text))
            }
            Value::Bytes(bytes) => {
                *size += (bytes.len() / cost::TEXT_PER_STEP) as u64;
                match bytes {
                    Cow::Borrowed(bytes) => Box::new(CelBytes::from(bytes)),
                    Cow::Owned(bytes) => Box::new(CelBytes::from(bytes)),
                }
            }
            Value::List(items) => {
                let items: Vec<Box<dyn Val + 'v>> =
                    items.into_iter().map(|item| item.into_val(size, depth + 1, deepest)).collect();
                Box::new(CelList::from(items))
            }
            Value::Map(items) => {
                let mut map: HashMap<CelMapKey<'v>, Box<dyn Val + 'v>> = HashMap::with_capacity(items.len());
                for (key, item) in items {
                    *size += 1;
                    map.insert(key.into_key(size), item.into_val(size, depth + 1, deepest));
                }
                Box::new(CelMap::from(map))
            }
            Value::Timestamp(instant) => Box::new(CelTimestamp::from(instant)),
            Value::Duration(duration) => Box::new(CelDuration::from(duration)),
            Value::Type(name) => Box::new(CelType::new(name)),
        }
    }

    /// The value of a result. An optional is its value, or null where it has none.
    pub(crate) fn from_val(val: &dyn Val) -> Result<Value<'static>, Error> {
        Self::from_val_within(val, &mut 0, &Limits::DEFAULT)
    }

    fn from_val_within(val: &dyn Val, size: &mut u64, limits: &Limits) -> Result<Value<'static>, Error> {
        *size += cost::text(match val.get_type().kind() {
            Kind::String => val.downcast_ref::<CelString>().map_or(0, |s| s.inner().len()),
            Kind::Bytes => val.downcast_ref::<CelBytes>().map_or(0, |b| b.inner().len()),
            _ => 0,
        });
        if *size > limits.output {
            return Err(Error::limit("output", limits.output, "the result is larger than", "steps of size"));
        }
        let converted = match val.get_type().kind() {
            Kind::NullType => Some(Value::Null),
            Kind::Boolean => val.downcast_ref::<CelBool>().map(|b| Value::Bool(*b.inner())),
            Kind::Int => val.downcast_ref::<CelInt>().map(|i| Value::Int(*i.inner())),
            Kind::UInt => val.downcast_ref::<CelUInt>().map(|u| Value::Uint(*u.inner())),
            Kind::Double => val.downcast_ref::<CelDouble>().map(|d| Value::Float(*d.inner())),
            Kind::String => {
                val.downcast_ref::<CelString>().map(|s| Value::String(Cow::Owned(s.inner().to_owned())))
            }
            Kind::Bytes => {
                val.downcast_ref::<CelBytes>().map(|b| Value::Bytes(Cow::Owned(b.inner().to_owned())))
            }
            Kind::Timestamp => val.downcast_ref::<CelTimestamp>().map(|t| Value::Timestamp(*t.inner())),
            Kind::Duration => val.downcast_ref::<CelDuration>().map(|d| Value::Duration(*d.inner())),
            Kind::Type => val.downcast_ref::<CelType>().map(|t| Value::Type(t.name().to_owned())),
            Kind::List => match val.downcast_ref::<CelList>() {
                Some(list) => {
                    let items = list.inner().iter();
                    let items = items.map(|item| Self::from_val_within(item.as_ref(), size, limits));
                    Some(Value::List(items.collect::<Result<_, _>>()?))
                }
                None => None,
            },
            Kind::Map => match val.downcast_ref::<CelMap>() {
                Some(map) => {
                    let mut items = Vec::with_capacity(map.inner().len());
                    for (key, item) in map.inner() {
                        *size += 1;
                        items.push((Key::from_key(key), Self::from_val_within(item.as_ref(), size, limits)?));
                    }
                    items.sort_by(|(a, _), (b, _)| a.cmp(b));
                    Some(Value::Map(items))
                }
                None => None,
            },
            Kind::Opaque => match val.downcast_ref::<CelOptional>() {
                Some(optional) => match optional.inner() {
                    Some(inner) => Some(Self::from_val_within(inner, size, limits)?),
                    None => Some(Value::Null),
                },
                None => None,
            },
            _ => None,
        };
        converted.ok_or_else(|| {
            Error::conversion(format!("the result is of type {}, which has no value", val.get_type().name()))
        })
    }
}

impl<'v> Key<'v> {
    fn into_key(self, size: &mut u64) -> CelMapKey<'v> {
        match self {
            Key::Bool(value) => CelMapKey::Bool(value.into()),
            Key::Int(value) => CelMapKey::Int(value.into()),
            Key::Uint(value) => CelMapKey::UInt(value.into()),
            Key::String(text) => {
                *size += (text.len() / cost::TEXT_PER_STEP) as u64;
                CelMapKey::String(text.into())
            }
        }
    }

    fn from_key(key: &CelMapKey<'_>) -> Key<'static> {
        match key {
            CelMapKey::Bool(value) => Key::Bool(*value.inner()),
            CelMapKey::Int(value) => Key::Int(*value.inner()),
            CelMapKey::UInt(value) => Key::Uint(*value.inner()),
            CelMapKey::String(text) => Key::String(Cow::Owned(text.inner().to_owned())),
        }
    }
}

/// The variables an expression is evaluated with.
#[derive(Debug, Default)]
pub struct Variables<'v> {
    entries: Vec<(Cow<'v, str>, Box<dyn Val + 'v>)>,
    size: u64,
    depth: usize,
}

impl<'v> Variables<'v> {
    pub fn new() -> Self {
        Self::default()
    }

    /// Binds `name`. A second value for a name is ignored.
    pub fn insert(&mut self, name: impl Into<Cow<'v, str>>, value: impl Into<Value<'v>>) {
        let value = value.into().into_val(&mut self.size, 0, &mut self.depth);
        self.entries.push((name.into(), value));
    }

    /// What the values cost to read once, in steps.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The deepest nesting of lists and maps among the values.
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }
}

impl<'v, N: Into<Cow<'v, str>>, V: Into<Value<'v>>> FromIterator<(N, V)> for Variables<'v> {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(entries: I) -> Self {
        let mut variables = Variables::new();
        for (name, value) in entries {
            variables.insert(name, value);
        }
        variables
    }
}

impl<'v> VariableResolver for Variables<'v> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let (_, value) = self.entries.iter().find(|(name, _)| name == variable)?;
        Some(CowVal::Borrowed(value.as_ref()))
    }
}
