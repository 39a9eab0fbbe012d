"""`streamlit run examples/streamlit_app.py`: chats over uploaded files; what one user uploads, nobody embeds again.

Streamlit runs this file anew for every session and every click, in threads of one process: the store is opened once.
What documents hold is shown as text. As Markdown, an image in one would tell its author's server that it was read, and
amounts in dollars would become formulas.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from docstore import DocStore, DocStoreError, InvalidArgument, QuotaExceeded, UnreadableDocument

SHOWN = 100  # messages of a long chat, the newest


@st.cache_resource
def opened() -> DocStore:
    """The store, for all sessions."""
    return DocStore(os.environ.get("DOCSTORE_FOLDER", "data"))


@contextmanager
def told() -> Iterator[None]:
    """Tells users what they can mend, and your log the rest, as it may name folders or say how full the disk is."""
    try:
        yield
    except DocStoreError as error:
        of_hers = isinstance(error, QuotaExceeded) and error.limited_by in ("documents", "logical_bytes")
        if of_hers or isinstance(error, InvalidArgument | UnreadableDocument):
            st.error(str(error))
            return
        logging.getLogger(__name__).exception("What a user asked for failed")
        st.error(f"That did not work ({type(error).__name__}). Try again later, or tell who runs this.")


with told():
    user = st.sidebar.text_input("User", "alice", max_chars=100)  # where your authentication goes
    workspace = opened().workspace(f"user:{user}")
    chat = workspace.conversation("first")

    with st.sidebar:
        # By the user: else what one has uploaded would become the next one's, who comes to the same page.
        for file in st.file_uploader("Documents", accept_multiple_files=True, key=f"documents of {user}"):
            with told():
                workspace.add(file, name=file.name)  # again at every click: what is there costs a look
        for document in workspace.documents():
            st.text(document.name)

    if question := (st.chat_input("Ask your documents") or "").strip():
        with told():
            hits = workspace.search(question, k=3)  # first: a question that fails is not kept without an answer
            chat.append("user", question)
            answer = hits[0].text if hits else "There is nothing to search yet."  # where a language model would answer
            chat.append("assistant", answer, hits=hits)
    written = sum(each.messages for each in workspace.conversations() if each.name == chat.name)
    for message in chat.messages(after=max(written - SHOWN, 0)):
        with st.chat_message(message.role):
            st.text(message.content)
            for source in message.sources:
                st.text(f"({source.name}, page {source.page})" if source.page else f"({source.name})")
