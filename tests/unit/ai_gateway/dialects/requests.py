"""A request with everything in it, as callers of OpenAI and of Anthropic write it."""

# ruff: noqa: E501 (vendors' JSON, as it is written)
from __future__ import annotations

SCHEMA = '{"type":"object","properties":{"b":{"type":"number","maximum":1e400},"a":{"type":"string"}}}'
ARGUMENTS = '{"z":1.10,"a":12345678901234567890,"u":"é"}'

OPENAI = (
    r'{"model":"best","messages":['
    r'{"role":"developer","content":"Be brief."},'
    r'{"role":"user","content":[{"type":"text","text":"What is this?"},'
    r'{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo="}},'
    r'{"type":"image_url","image_url":{"url":"https://example.org/cat.jpg"}}]},'
    r'{"role":"assistant","content":null,"tool_calls":['
    r'{"id":"call_1","type":"function","function":{"name":"look","arguments":"{\"z\":1.10,\"a\":12345678901234567890,\"u\":\"é\"}"}},'
    r'{"id":"call_2","type":"function","function":{"name":"weigh","arguments":"{}"}}]},'
    r'{"role":"tool","tool_call_id":"call_1","content":"a cat"},'
    r'{"role":"tool","tool_call_id":"call_2","content":[{"type":"text","text":"4 kg"}]},'
    r'{"role":"user","content":"And?"}],'
    r'"tools":[{"type":"function","function":{"name":"look","description":"Looks.","parameters":'
    + SCHEMA
    + ","
    r'"strict":true}},{"type":"function","function":{"name":"weigh"}}],'
    r'"tool_choice":"required","parallel_tool_calls":false,'
    r'"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":'
    + SCHEMA
    + r',"strict":true}},'
    r'"max_completion_tokens":300,"temperature":0.5,"top_p":0.9,"stop":["END"],"seed":7,'
    r'"reasoning_effort":"medium","user":"u1"}'
).encode()

ANTHROPIC = (
    r'{"model":"best","max_tokens":300,"system":[{"type":"text","text":"Be brief.",'
    r'"cache_control":{"type":"ephemeral"}}],"messages":['
    r'{"role":"user","content":[{"type":"text","text":"What is this?"},'
    r'{"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBORw0KGgo="}},'
    r'{"type":"image","source":{"type":"url","url":"https://example.org/cat.jpg"}}]},'
    r'{"role":"assistant","content":[{"type":"thinking","thinking":"Hm.","signature":"c2ln"},'
    r'{"type":"redacted_thinking","data":"xx"},'
    r'{"type":"tool_use","id":"call_1","name":"look","input":' + ARGUMENTS + r"},"
    r'{"type":"tool_use","id":"call_2","name":"weigh","input":{}}]},'
    r'{"role":"user","content":[{"type":"tool_result","tool_use_id":"call_1","content":"a cat"},'
    r'{"type":"tool_result","tool_use_id":"call_2","is_error":true,"content":[{"type":"text","text":"4 kg"}]},'
    r'{"type":"text","text":"And?"}]}],'
    r'"tools":[{"name":"look","description":"Looks.","input_schema":' + SCHEMA + r',"strict":true},'
    r'{"name":"weigh","input_schema":{"type":"object","properties":{}}}],'
    r'"tool_choice":{"type":"any","disable_parallel_tool_use":true},'
    r'"output_config":{"effort":"medium","format":{"type":"json_schema","schema":' + SCHEMA + r"}},"
    r'"temperature":0.5,"top_p":0.9,"stop_sequences":["END"],"metadata":{"user_id":"u1"},'
    r'"stream":true}'
).encode()
