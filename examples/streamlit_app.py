"""`streamlit run examples/streamlit_app.py`: chats over uploaded files; what one user uploads, nobody embeds again.

Streamlit runs this file anew for every session and every click, in threads of one process: the store is opened once.
"""

from __future__ import annotations

import os

import streamlit as st

from docstore import DocStore, DocStoreError


@st.cache_resource
def opened() -> DocStore:
    """The store, for all sessions."""
    return DocStore(os.environ.get("DOCSTORE_FOLDER", "data"))


user = st.sidebar.text_input("User", "alice", max_chars=100)  # where your authentication goes
workspace = opened().workspace(f"user:{user}")
chat = workspace.conversation("first")

for file in st.sidebar.file_uploader("Documents", accept_multiple_files=True):
    try:
        workspace.add(file, name=file.name)  # again at every click: what is there costs a look
    except DocStoreError as error:
        st.sidebar.error(str(error))
for document in workspace.documents():
    st.sidebar.write(document.name)

if question := (st.chat_input("Ask your documents") or "").strip():
    chat.append("user", question)
    hits = workspace.search(question, k=3)
    answer = hits[0].text if hits else "There is nothing to search yet."  # where a language model would write it
    chat.append("assistant", answer, hits=hits)
for message in chat.messages():
    with st.chat_message(message.role):
        st.write(message.content)
        for source in message.sources:
            st.caption(f"{source.name}, page {source.page}" if source.page else source.name)
