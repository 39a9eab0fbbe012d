"""`streamlit run examples/streamlit_app.py`: chats over uploaded files; what one user uploads, nobody embeds again.

Streamlit runs this file anew for every session and every click, in threads of one process: the store is opened once.
"""

from __future__ import annotations

import os

import streamlit as st

from docstore import DocStore, DocStoreError, QuotaExceeded, UnreadableDocument

SHOWN = 100  # messages of a long chat, the newest


@st.cache_resource
def opened() -> DocStore:
    """The store, for all sessions."""
    return DocStore(os.environ.get("DOCSTORE_FOLDER", "data"))


user = st.sidebar.text_input("User", "alice", max_chars=100)  # where your authentication goes
workspace = opened().workspace(f"user:{user}")
chat = workspace.conversation("first")

# By the user: else what one has uploaded would become the next one's, who comes to the same page.
for file in st.sidebar.file_uploader("Documents", accept_multiple_files=True, key=f"documents of {user}"):
    try:
        workspace.add(file, name=file.name)  # again at every click: what is there costs a look
    except (UnreadableDocument, QuotaExceeded) as error:  # what the user can mend
        st.sidebar.error(str(error))
    except DocStoreError as error:  # for you: its text may name folders of the server
        st.sidebar.error(f"The document could not be added ({type(error).__name__}).")
for document in workspace.documents():
    st.sidebar.write(document.name)

if question := (st.chat_input("Ask your documents") or "").strip():
    chat.append("user", question)
    hits = workspace.search(question, k=3)
    answer = hits[0].text if hits else "There is nothing to search yet."  # where a language model would write it
    chat.append("assistant", answer, hits=hits)
written = sum(each.messages for each in workspace.conversations() if each.name == chat.name)
for message in chat.messages(after=max(written - SHOWN, 0)):
    with st.chat_message(message.role):
        st.write(message.content)
        for source in message.sources:
            st.caption(f"{source.name}, page {source.page}" if source.page else source.name)
