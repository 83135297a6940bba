//! Tool calls of messages, and the schemas of the tools that a row offers.

use sftprep_template::{Data, Map};

use super::row::{At, Row, wrong_type};
use crate::error::{Code, Reject};
use crate::json;

/// Reads the JSON that a string holds.
pub(super) fn json_in_string(text: &str, field: &str, row: &mut Row<'_>) -> Result<Data, Reject> {
    json::parse(text.as_bytes(), row.notes).map_err(|reject| {
        let detail = format!("{field} is a string that is not JSON: {}", reject.detail);
        Reject::new(Code::FormatJsonString, detail).at_field(field)
    })
}

/// Brings `tool_calls` of a message, or the older `function_call`, into the normal form.
pub(super) fn calls_of_message(
    message: &mut Map,
    role: &str,
    at: At<'_>,
    row: &mut Row<'_>,
) -> Result<(), Reject> {
    if let Some(call) = message.remove("function_call") {
        let field = at.field("function_call");
        if message.contains_key("tool_calls") {
            let detail = format!("{at} has both tool_calls and function_call");
            return Err(Reject::new(Code::FormatType, detail).at_field(field));
        }
        let call = self::call(call, &field, row)?;
        message.insert("tool_calls", Data::List(vec![call]));
    } else if let Some(calls) = message.get_mut("tool_calls") {
        let calls = std::mem::replace(calls, Data::Null);
        let field = at.field("tool_calls");
        let calls = calls_in_list(calls, &field, row)?;
        if calls.is_empty() {
            message.remove("tool_calls");
            return Ok(());
        }
        message.insert("tool_calls", Data::List(calls));
    } else {
        return Ok(());
    }
    if role == "assistant" {
        return Ok(());
    }
    let detail = format!("{at} has tool_calls and the role {role}; only an assistant calls tools");
    Err(Reject::new(Code::FormatType, detail).at_field(at.field("tool_calls")))
}

fn calls_in_list(value: Data, field: &str, row: &mut Row<'_>) -> Result<Vec<Data>, Reject> {
    let value = match value {
        Data::Str(text) => json_in_string(&text, field, row)?,
        other => other,
    };
    let Data::List(items) = value else {
        return Err(wrong_type(&field, &value, "an array of tool calls"));
    };
    let calls = items.into_iter().enumerate();
    calls
        .map(|(index, item)| call(item, &format!("{field}[{index}]"), row))
        .collect()
}

/// The calls in a value that is one call or a list of them, or a JSON string of either.
pub(super) fn calls_in_value(
    value: Data,
    field: &str,
    row: &mut Row<'_>,
) -> Result<Vec<Data>, Reject> {
    let value = match value {
        Data::Str(text) => json_in_string(&text, field, row)?,
        other => other,
    };
    match value {
        Data::Map(_) => Ok(vec![call(value, field, row)?]),
        Data::List(_) => calls_in_list(value, field, row),
        other => Err(wrong_type(
            &field,
            &other,
            "a tool call or an array of them",
        )),
    }
}

/// One call as `{type: "function", function: {name, arguments}}`, with what else it has.
fn call(value: Data, field: &str, row: &mut Row<'_>) -> Result<Data, Reject> {
    let Data::Map(mut call) = value else {
        return Err(wrong_type(&field, &value, "a tool call {name, arguments}"));
    };
    if let Some(function) = call.get_mut("function") {
        let Data::Map(function) = function else {
            return Err(wrong_type(
                &format!("{field}.function"),
                function,
                "an object",
            ));
        };
        check_function(function, &format!("{field}.function"), row)?;
        match call.get_mut("type") {
            None => call.push_front("type", "function".into()),
            Some(kind @ Data::Null) => *kind = "function".into(),
            Some(_) => {}
        }
        return Ok(Data::Map(call));
    }
    let mut function = Map::new();
    for name in ["name", "arguments"] {
        if let Some(value) = call.remove(name) {
            function.insert(name, value);
        }
    }
    check_function(&mut function, field, row)?;
    call.remove("type");
    call.insert("type", "function".into());
    call.insert("function", Data::Map(function));
    Ok(Data::Map(call))
}

fn check_function(function: &mut Map, field: &str, row: &mut Row<'_>) -> Result<(), Reject> {
    match function.get("name") {
        Some(Data::Str(_)) => {}
        None => {
            let detail = format!("{field}.name is missing");
            return Err(Reject::new(Code::FormatMissing, detail).at_field(field));
        }
        Some(other) => return Err(wrong_type(&format!("{field}.name"), other, "a string")),
    }
    let object = match function.get("arguments") {
        None | Some(Data::Null) => Data::Map(Map::new()),
        Some(Data::Str(text)) if text.trim().is_empty() => Data::Map(Map::new()),
        Some(Data::Str(text)) => match json::parse(text.as_bytes(), row.notes) {
            Ok(object @ Data::Map(_)) => object,
            _ => return Ok(()), // not an object: the text is what the row says
        },
        Some(_) => return Ok(()),
    };
    function.insert("arguments", object);
    Ok(())
}

/// The tools that the row offers, from the column `tools` or the older `functions`.
pub(super) fn column(row: &mut Row<'_>) -> Result<Option<Vec<Data>>, Reject> {
    for wanted in ["tools", "functions"] {
        let column = row.column(wanted);
        let value = match row.take(wanted) {
            None => continue,
            Some(Data::Str(text)) if text.trim().is_empty() => continue,
            Some(Data::Str(text)) => json_in_string(&text, column, row)?,
            Some(other) => other,
        };
        let tools = match value {
            Data::List(tools) => tools,
            tool @ Data::Map(_) => vec![tool],
            Data::Null => continue,
            other => return Err(wrong_type(&column, &other, "an array of tools")),
        };
        if tools.is_empty() {
            continue;
        }
        let tools = tools.into_iter().enumerate();
        let wrapped = tools.map(|(index, tool)| wrap(tool, &format!("{column}[{index}]")));
        return wrapped.collect::<Result<_, _>>().map(Some);
    }
    Ok(None)
}

/// A tool as `{type, function}`; anything that is no function schema stays as it is.
fn wrap(tool: Data, field: &str) -> Result<Data, Reject> {
    let Data::Map(mut tool) = tool else {
        return Err(wrong_type(&field, &tool, "an object that describes a tool"));
    };
    if tool.contains_key("function") {
        if !tool.contains_key("type") {
            tool.push_front("type", "function".into());
        }
        return Ok(Data::Map(tool));
    }
    if !tool.contains_key("name") {
        return Ok(Data::Map(tool));
    }
    if tool.get("type").and_then(Data::as_str) == Some("function") {
        tool.remove("type");
    }
    let mut wrapped = Map::new();
    wrapped.insert("type", "function".into());
    wrapped.insert("function", Data::Map(tool));
    Ok(Data::Map(wrapped))
}
