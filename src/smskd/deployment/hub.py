"""The upload of an exported folder to the Hugging Face hub."""

import re
from collections.abc import Sequence
from pathlib import Path

from smskd.errors import UserError, not_installed

_MESSAGE = "Upload by smskd export"
_ID = re.compile(r"[\w.-]+/[\w.-]+")


def check_hub(repository: str) -> None:
    """What is needed, before any work.

    Raises:
        UserError: it is no id, or huggingface_hub is not installed.
    """
    if not _ID.fullmatch(repository):
        raise UserError(f"--push: '{repository}' is no id of a repository: OWNER/NAME")
    try:
        import huggingface_hub  # noqa: F401
    except ImportError as error:
        raise not_installed("huggingface_hub", "hub", error) from None


def push(folder: Path, repository: str, *, private: bool, further: Sequence[Path] = ()) -> str:
    """Uploads a folder; the repository is made where there is none. huggingface_hub finds the user's token by itself.

    Args:
        folder: whose files are uploaded.
        repository: OWNER/NAME.
        further: files that are uploaded beside those of the folder.
        private: whether a new repository is private; one that exists stays as it is.

    Returns:
        The address of the repository.

    Raises:
        UserError: the hub cannot be reached, or refuses.
    """
    check_hub(repository)
    from huggingface_hub import HfApi

    try:
        api = HfApi()
        address = api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=str(folder), commit_message=_MESSAGE)
        for file in further:
            api.upload_file(
                repo_id=repository, path_or_fileobj=str(file), path_in_repo=file.name, commit_message=_MESSAGE
            )
    except Exception as error:  # of the library or the network
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"--push: {repository} cannot be uploaded: {reason}") from error
    return str(address)
