"""The simplest value that a JSON schema allows."""

from __future__ import annotations

from typing import Any

DEEPEST = 12  # a schema that contains itself ends there


def sample(schema: dict[str, Any]) -> Any:
    """A value with the required properties only; also of Gemini's schemas, whose types are in capitals."""
    return _value(schema, schema, 0)


def _value(schema: dict[str, Any], root: dict[str, Any], depth: int) -> Any:
    schema = _resolved(schema, root)
    if depth > DEEPEST:
        return None
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for choice in ("anyOf", "oneOf", "allOf"):
        if schema.get(choice):
            return _value(schema[choice][0], root, depth + 1)
    return _typed(schema, root, depth)


def _typed(schema: dict[str, Any], root: dict[str, Any], depth: int) -> Any:
    match _type(schema):
        case "object":
            properties = schema.get("properties", {})
            required = [name for name in schema.get("required", properties) if name in properties]
            return {name: _value(properties[name], root, depth + 1) for name in required}
        case "array":
            count = max(1, int(schema.get("minItems", 1)))
            return [_value(schema.get("items", {"type": "string"}), root, depth + 1) for _ in range(count)]
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case "null":
            return None
    return "word0".ljust(int(schema.get("minLength", 0)), "0")


def _type(schema: dict[str, Any]) -> str:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    return str(kind[0] if isinstance(kind, list) else kind).lower()


def _resolved(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    """The schema that `$ref` points to inside the document."""
    for _ in range(DEEPEST):
        if "$ref" not in schema:
            break
        target: Any = root
        for step in str(schema["$ref"]).removeprefix("#").strip("/").split("/"):
            target = target[step] if step else target
        schema = target
    return schema
