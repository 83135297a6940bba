//! Arrow arrays to plain data, a column at a time: the type is looked at once per column.
//!
//! Structs become objects in field order (a null field stays null: whether a null means "not
//! there" is for the format to say), maps with string keys become objects, lists and dictionaries
//! what they hold. Times become ISO 8601 strings (`2024-05-01T12:00:00`, with `Z` where the column
//! has a time zone), decimals strings of their digits.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::temporal_conversions::{as_date, as_datetime, as_time};
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type,
    Decimal256Type, DecimalType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
    Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, OffsetSizeTrait, RecordBatch};
use arrow_buffer::ArrowNativeType;
use arrow_schema::{DataType, Field, FieldRef, Schema, TimeUnit};
use sftprep_template::{Data, Map};

/// Deepest nesting of a column, as for JSON rows.
const MAX_DEPTH: usize = 128;

type Column = Result<Vec<Data>, String>;

/// Fails, naming the column, on types that no row of text can hold.
pub(super) fn check_schema(schema: &Schema) -> Result<(), String> {
    let mut fields = schema.fields().iter();
    fields.try_for_each(|field| check(field, field.name(), 1))
}

fn check(field: &Field, path: &str, depth: usize) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!(
            "column `{path}` is nested deeper than {MAX_DEPTH} levels"
        ));
    }
    let below = |child: &Field| check(child, &format!("{path}.{}", child.name()), depth + 1);
    match field.data_type() {
        DataType::Struct(fields) => fields.iter().try_for_each(|child| below(child)),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => check(item, &format!("{path}[]"), depth + 1),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) if pair.len() == 2 && is_text(pair[0].data_type()) => {
                check(&pair[1], &format!("{path}{{}}"), depth + 1)
            }
            _ => Err(format!(
                "column `{path}` is a map whose keys are not strings"
            )),
        },
        DataType::Dictionary(_, values) => {
            let values = Field::new(field.name(), values.as_ref().clone(), true);
            check(&values, path, depth + 1)
        }
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_)
        | DataType::Duration(_)
        | DataType::Interval(_)
        | DataType::Union(..)
        | DataType::RunEndEncoded(..) => {
            let kind = field.data_type();
            Err(format!(
                "column `{path}` has type {kind}, which no row of text can hold"
            ))
        }
        _ => Ok(()),
    }
}

fn is_text(kind: &DataType) -> bool {
    matches!(
        kind,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

/// The rows of a batch, each an object.
pub(super) fn rows(batch: &RecordBatch) -> Column {
    let schema = batch.schema();
    let columns = batch.columns().iter().map(AsRef::as_ref);
    let maps = zip(schema.fields(), columns, batch.num_rows())?;
    Ok(maps.into_iter().map(Data::Map).collect())
}

fn zip<'a>(
    fields: &[FieldRef],
    columns: impl Iterator<Item = &'a dyn Array>,
    rows: usize,
) -> Result<Vec<Map>, String> {
    let mut maps = vec![Map::new(); rows];
    for (field, column) in fields.iter().zip(columns) {
        let name: Arc<str> = field.name().as_str().into();
        for (map, value) in maps.iter_mut().zip(values(column)?) {
            map.insert(name.clone(), value);
        }
    }
    Ok(maps)
}

/// The values of a column, in order.
fn values(array: &dyn Array) -> Column {
    let values = match array.data_type() {
        DataType::Null => vec![Data::Null; array.len()],
        DataType::Boolean => all(array.as_boolean().iter(), Data::Bool),
        DataType::Int8 => integers::<Int8Type>(array),
        DataType::Int16 => integers::<Int16Type>(array),
        DataType::Int32 => integers::<Int32Type>(array),
        DataType::Int64 => integers::<Int64Type>(array),
        DataType::UInt8 => integers::<UInt8Type>(array),
        DataType::UInt16 => integers::<UInt16Type>(array),
        DataType::UInt32 => integers::<UInt32Type>(array),
        DataType::UInt64 => all(array.as_primitive::<UInt64Type>().iter(), |number| {
            i64::try_from(number)
                .map_or_else(|_| Data::BigInt(number.to_string().into()), Data::Int)
        }),
        DataType::Float16 => all(array.as_primitive::<Float16Type>().iter(), |number| {
            Data::Float(number.to_f64())
        }),
        DataType::Float32 => all(array.as_primitive::<Float32Type>().iter(), |number| {
            Data::Float(number.into())
        }),
        DataType::Float64 => all(array.as_primitive::<Float64Type>().iter(), Data::Float),
        DataType::Utf8 => all(array.as_string::<i32>().iter(), Data::from),
        DataType::LargeUtf8 => all(array.as_string::<i64>().iter(), Data::from),
        DataType::Utf8View => all(array.as_string_view().iter(), Data::from),
        DataType::Decimal32(..) => decimals::<Decimal32Type>(array),
        DataType::Decimal64(..) => decimals::<Decimal64Type>(array),
        DataType::Decimal128(..) => decimals::<Decimal128Type>(array),
        DataType::Decimal256(..) => decimals::<Decimal256Type>(array),
        DataType::Date32 => times::<Date32Type, _>(array, as_date::<Date32Type>, "")?,
        DataType::Date64 => times::<Date64Type, _>(array, as_date::<Date64Type>, "")?,
        DataType::Time32(TimeUnit::Second) => {
            times::<Time32SecondType, _>(array, as_time::<Time32SecondType>, "")?
        }
        DataType::Time32(_) => {
            times::<Time32MillisecondType, _>(array, as_time::<Time32MillisecondType>, "")?
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            times::<Time64MicrosecondType, _>(array, as_time::<Time64MicrosecondType>, "")?
        }
        DataType::Time64(_) => {
            times::<Time64NanosecondType, _>(array, as_time::<Time64NanosecondType>, "")?
        }
        DataType::Timestamp(unit, zone) => timestamps(array, *unit, zone.is_some())?,
        DataType::Struct(fields) => structs(array, fields)?,
        DataType::List(_) => lists::<i32>(array)?,
        DataType::LargeList(_) => lists::<i64>(array)?,
        DataType::ListView(_) => list_views::<i32>(array)?,
        DataType::LargeListView(_) => list_views::<i64>(array)?,
        DataType::FixedSizeList(_, size) => fixed_lists(array, *size as usize)?,
        DataType::Map(..) => maps(array)?,
        DataType::Dictionary(..) => dictionary(array)?,
        other => return Err(format!("a column of type {other} cannot be read")),
    };
    Ok(values)
}

fn all<T>(values: impl Iterator<Item = Option<T>>, into: impl Fn(T) -> Data) -> Vec<Data> {
    values
        .map(|value| value.map_or(Data::Null, &into))
        .collect()
}

fn integers<T: ArrowPrimitiveType<Native: Into<i64>>>(array: &dyn Array) -> Vec<Data> {
    all(array.as_primitive::<T>().iter(), |number| {
        Data::Int(number.into())
    })
}

fn decimals<T: DecimalType>(array: &dyn Array) -> Vec<Data> {
    let decimals = array.as_primitive::<T>();
    (0..decimals.len())
        .map(|row| {
            if decimals.is_null(row) {
                return Data::Null;
            }
            Data::Str(decimals.value_as_string(row).into())
        })
        .collect()
}

/// Times in the form that chrono's `Debug` gives, which is ISO 8601.
fn times<T, U>(array: &dyn Array, read: impl Fn(i64) -> Option<U>, zone: &str) -> Column
where
    T: ArrowPrimitiveType<Native: Into<i64>>,
    U: std::fmt::Debug,
{
    let times = array.as_primitive::<T>().iter();
    times
        .map(|value| {
            let Some(value) = value.map(Into::into) else {
                return Ok(Data::Null);
            };
            let time = read(value).ok_or_else(|| {
                format!(
                    "a value of type {} is out of range: {value}",
                    array.data_type()
                )
            })?;
            Ok(Data::Str(format!("{time:?}{zone}").into()))
        })
        .collect()
}

fn timestamps(array: &dyn Array, unit: TimeUnit, has_zone: bool) -> Column {
    let zone = if has_zone { "Z" } else { "" };
    match unit {
        TimeUnit::Second => {
            times::<TimestampSecondType, _>(array, as_datetime::<TimestampSecondType>, zone)
        }
        TimeUnit::Millisecond => times::<TimestampMillisecondType, _>(
            array,
            as_datetime::<TimestampMillisecondType>,
            zone,
        ),
        TimeUnit::Microsecond => times::<TimestampMicrosecondType, _>(
            array,
            as_datetime::<TimestampMicrosecondType>,
            zone,
        ),
        TimeUnit::Nanosecond => {
            times::<TimestampNanosecondType, _>(array, as_datetime::<TimestampNanosecondType>, zone)
        }
    }
}

fn structs(array: &dyn Array, fields: &[FieldRef]) -> Column {
    let columns = array.as_struct().columns().iter();
    let maps = zip(fields, columns.map(AsRef::as_ref), array.len())?;
    Ok(with_nulls(array, maps.into_iter().map(Data::Map)))
}

fn lists<O: OffsetSizeTrait>(array: &dyn Array) -> Column {
    let list = array.as_list::<O>();
    let ends: Vec<usize> = list.offsets().iter().map(|end| end.as_usize()).collect();
    let parts = parts(list.values().as_ref(), &ends)?;
    Ok(with_nulls(array, parts.into_iter().map(Data::List)))
}

fn list_views<O: OffsetSizeTrait>(array: &dyn Array) -> Column {
    let list = array.as_list_view::<O>();
    let rows = (0..list.len()).map(|row| {
        if list.is_null(row) {
            return Ok(Data::Null);
        }
        values(list.value(row).as_ref()).map(Data::List)
    });
    rows.collect()
}

fn fixed_lists(array: &dyn Array, size: usize) -> Column {
    let list = array.as_fixed_size_list();
    let ends: Vec<usize> = (0..=list.len()).map(|row| row * size).collect();
    let parts = parts(list.values().as_ref(), &ends)?;
    Ok(with_nulls(array, parts.into_iter().map(Data::List)))
}

fn maps(array: &dyn Array) -> Column {
    let map = array.as_map();
    let ends: Vec<usize> = map.offsets().iter().map(|end| end.as_usize()).collect();
    let keys = parts(map.keys().as_ref(), &ends)?;
    let values = parts(map.values().as_ref(), &ends)?;
    let maps = keys.into_iter().zip(values).map(|(keys, values)| {
        let entries = keys.into_iter().zip(values);
        let named = entries.filter_map(|(key, value)| match key {
            Data::Str(name) => Some((name, value)),
            _ => None, // a key is never null
        });
        Data::Map(named.collect())
    });
    Ok(with_nulls(array, maps))
}

fn dictionary(array: &dyn Array) -> Column {
    let dictionary = array.as_any_dictionary();
    let words = dictionary.values();
    if words.is_empty() {
        return Ok(vec![Data::Null; array.len()]);
    }
    let keys = dictionary.normalized_keys();
    let rows = if words.len() <= 4 * keys.len() {
        let words = values(words.as_ref())?;
        keys.into_iter().map(|key| words[key].clone()).collect()
    } else {
        // A large dictionary for few rows: look up only what they name.
        let one = |key| Ok(values(words.slice(key, 1).as_ref())?.swap_remove(0));
        keys.into_iter().map(one).collect::<Column>()?
    };
    Ok(with_nulls(array, rows.into_iter()))
}

/// The values between each two ends, converted at once.
fn parts(array: &dyn Array, ends: &[usize]) -> Result<Vec<Vec<Data>>, String> {
    let (Some(first), Some(last)) = (ends.first(), ends.last()) else {
        return Ok(Vec::new());
    };
    let mut items = values(array.slice(*first, last - first).as_ref())?.into_iter();
    let lengths = ends.windows(2).map(|pair| pair[1] - pair[0]);
    Ok(lengths
        .map(|length| items.by_ref().take(length).collect())
        .collect())
}

fn with_nulls(array: &dyn Array, values: impl Iterator<Item = Data>) -> Vec<Data> {
    let rows = values.enumerate();
    rows.map(|(row, value)| {
        if array.is_null(row) {
            Data::Null
        } else {
            value
        }
    })
    .collect()
}
