"""`ChatService`: parse, call, map."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from mlapi.ai_gateway.v1 import chat_service_pb2, chat_service_pb2_grpc

from services.ai_gateway.application.reuse import ReusingChats
from services.ai_gateway.domain.chat import EmbedRequest
from services.ai_gateway.rpc import mapping_chat
from services.ai_gateway.rpc.calling import call


class ChatServicer(chat_service_pb2_grpc.ChatServiceServicer):
    """See the proto."""

    def __init__(self, chats: ReusingChats) -> None:
        self._chats = chats

    async def Chat(self, request: Any, context: Any) -> chat_service_pb2.ChatResponse:
        answer, bill = await self._chats.complete(mapping_chat.prompt(request, False), call(context))
        return mapping_chat.response(answer, bill)

    async def StreamChat(
        self, request: Any, context: Any
    ) -> AsyncGenerator[chat_service_pb2.ChatEvent, None]:
        async with aclosing(self._chats.stream(mapping_chat.prompt(request, True), call(context))) as deltas:
            async for delta in deltas:
                for event in mapping_chat.events(delta):
                    yield event

    async def Embed(self, request: Any, context: Any) -> chat_service_pb2.EmbedResponse:
        asked = EmbedRequest(tuple(request.texts), request.dimensions or None)
        found, bill = await self._chats.embed(request.model, asked, call(context))
        vectors = [chat_service_pb2.Embedding(values=vector) for vector in found.vectors]
        return chat_service_pb2.EmbedResponse(embeddings=vectors, bill=mapping_chat.bill_message(bill))
