"""The folder of numbered versions that servers read, and the changes to which one is served.

Servers take the version with the highest number. So going back to an earlier model means to push it again, as a new
version: history is never rewritten, and no server needs to know about it. A run may push meanwhile; whoever comes last
is served.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import storage
from ledger.opening import LedgerError
from operations.registry.records import PROMOTE, ROLLBACK, Model, Push, Records
from operations.registry.settings import Settings
from operations.registry.version import MODEL_FILE, Change, RegistryError, Version, entries, is_about, present_in
from pipeline import workspace


class Registry:
    """The pushed versions of one model."""

    def __init__(self, settings: Settings) -> None:
        """Opens the registry; the folder need not exist yet.

        Raises:
            LedgerError: the metadata store cannot be read.
        """
        self._settings = settings
        self._folder, self._canaries = storage.at(settings.pushed), storage.at(settings.canaries)
        self._records = Records(settings)

    def versions(self) -> list[Version]:
        """All versions that ever were, newest first, also those that are not there any more."""
        pushes = self._records.pushes()
        versions = self._versions_in(self._folder, pushes)
        served = max((version.number for version in versions if version.present), default=None)
        replaced = {push.version.number: push.replaced for push in pushes}
        rolled_back_by = {
            replaced.get(version.number): version.number for version in versions if version.origin == "rollback"
        }
        return [
            replace(version, served=version.number == served, rolled_back_by=rolled_back_by.get(version.number))
            for version in versions
        ]

    def _versions_in(self, folder: Path, pushes: Sequence[Push]) -> list[Version]:
        """The versions that a folder holds or held, newest first."""
        present, champion = present_in(folder), next(reversed(self._records.blessings()), None)
        versions: dict[int, Version] = {}
        for push in pushes:
            number = push.version.number
            if is_about(push.version, folder, present) and (push.finished or number in present):
                versions[number] = replace(push.version, folder=folder / str(number))
        for number in present.keys() - versions.keys():
            versions[number] = Version(number, present[number], pushed_at=_changed_at(present[number]))
        return [
            replace(version, present=number in present, champion=champion is not None and version.model_id == champion)
            for number, version in sorted(versions.items(), reverse=True)
        ]

    def current(self) -> Version | None:
        """The version that servers answer with; None before the first push."""
        return next((version for version in self.versions() if version.served), None)

    def served(self) -> Version:
        """The version that servers answer with; raises RegistryError before the first push."""
        version = self.current()
        if version is None:
            raise RegistryError(
                f"No version of {self._settings.use_case.name} is pushed yet: train and push one with: flightdeck run"
            )
        return version

    def version(self, number: int) -> Version:
        """One version; raises RegistryError if there never was one with that number."""
        versions = self.versions()
        version = next((version for version in versions if version.number == number), None)
        if version is None:
            known = ", ".join(str(version.number) for version in versions[:5]) or "none"
            raise RegistryError(f"There is no version {number}; the newest ones are: {known}.")
        return version

    def previous(self) -> Version | None:
        """The version that `rollback` would bring back; None if there is none.

        It is the newest one before the served one whose model is another and is blessed. If the served version is
        itself a rollback, "before" means before the version that it restored: two rollbacks in a row go back twice,
        and not forth again.
        """
        versions = self.versions()
        served = next((version for version in versions if version.served), None)
        if served is None:
            return None
        by_number = {version.number: version for version in versions}
        position = served
        while position.restores is not None and position.restores in by_number:
            position = by_number[position.restores]
        candidates = (
            version
            for version in versions
            if version.number < position.number and version.blessed and version.model_id != served.model_id
        )
        return next((version for version in candidates if self.source(version) is not None), None)

    def canaries(self) -> list[Version]:
        """All versions that a run ever pushed as a canary, newest first."""
        return self._versions_in(self._canaries, self._records.pushes())

    def canary(self) -> Version | None:
        """The canary under test: the newest that no verdict has removed; None if there is none.

        Older ones that are still there have been overtaken, and are removed with it.
        """
        return next((version for version in self.canaries() if version.present), None)

    def canary_numbers(self) -> set[int]:
        """The numbers of all canaries that there ever were, whatever became of them."""
        return {version.number for version in self.canaries()}

    def retire(self, number: int) -> None:
        """Ends the test of a canary, and of all before it, by removing their folders; the records stay.

        Nothing happens if it has ended: whoever was killed may ask again.
        """
        with self._exclusively():
            for canary, path in present_in(self._canaries).items():
                if canary <= number:
                    storage.remove_folder(path, first=MODEL_FILE)

    def rollback(self, to: int | None = None, reason: str = "") -> Change:
        """Pushes the model of an earlier version, by default of `previous`, as a new version.

        Raises:
            RegistryError: there is no such version, its model is the one served already, or it is gone.
        """
        with self._exclusively():
            served = self.served()
            if to is None:
                earlier = self.previous()
                if earlier is None:
                    raise RegistryError(
                        f"There is no earlier blessed model to go back to from version {served.number}; "
                        "name a version with --to, or push a model with: flightdeck models promote"
                    )
            else:
                earlier = self.version(to)
            if earlier.number == served.number or (
                earlier.model_id is not None and earlier.model_id == served.model_id
            ):
                raise RegistryError(
                    f"Version {served.number} is served, and has the model of {earlier.number} already."
                )
            source = self.source(earlier)
            if source is None:
                raise RegistryError(
                    f"The model of version {earlier.number} is gone: neither {earlier.folder} nor its artifact exists."
                )
            notes = {"reason": reason, "from_version": served.number, "restored_version": earlier.number}
            return self._push(ROLLBACK, source, earlier.model_id, served.number, notes)

    def promote(self, what: str, reason: str = "", force: bool = False) -> Change:
        """Pushes a model, of a run as `Runs.find` takes it or the number of its artifact, if blessed and not served.

        With `force` and a reason, also one that was not blessed.

        Raises:
            RegistryError: there is no such model, it is not blessed, or it is served already.
        """
        with self._exclusively():
            model = self._model(what)
            served = self.current()
            if served is not None and served.model_id == model.model_id:
                raise RegistryError(f"The model {model.model_id} is served already, as version {served.number}.")
            if problem := _refusal(model):
                if not force:
                    raise RegistryError(
                        f"The model {model.model_id} of run {model.run_id} {problem}; "
                        "push it nevertheless with --force and a --reason."
                    )
                if not reason.strip():
                    raise RegistryError(f"The model {model.model_id} {problem}: --force needs a --reason.")
            if not (model.saved_model / MODEL_FILE).is_file():
                raise RegistryError(f"The model {model.model_id} is gone: there is no {model.saved_model}.")
            number = None if served is None else served.number
            notes = {"reason": reason, "forced": int(bool(force and problem))}
            if number is not None:
                notes["from_version"] = number
            return self._push(PROMOTE, model.saved_model, model.model_id, number, notes)

    def prunable(self, keep: int) -> list[Version]:
        """The versions that `prune` would remove, oldest first; raises RegistryError if `keep` is below 1.

        Never the newest `keep`, the served one, the champion's, or the one that a rollback would bring back. Of the
        canaries, all but the newest: it has overtaken them.
        """
        if keep < 1:
            raise RegistryError("At least one version must be kept.")
        present = [version for version in self.versions() if version.present]
        kept = [*present[:keep], *(version for version in present if version.served)]
        kept += [version for version in present if version.champion][:1]
        if (previous := self.previous()) is not None:
            kept += [version for version in present if previous.model_id and version.model_id == previous.model_id][:1]
            kept.append(previous)
        numbers = {version.number for version in kept}
        overtaken = [version for version in self.canaries() if version.present][1:]
        return [*reversed(overtaken), *(version for version in reversed(present) if version.number not in numbers)]

    def prune(self, keep: int) -> list[Version]:
        """Removes what is `prunable` and returns it; what ML Metadata knows of it stays."""
        with self._exclusively():
            removed = self.prunable(keep)
            for version in removed:
                storage.remove_folder(version.folder, first=MODEL_FILE)
        return removed

    def _push(
        self, change: str, source: Path, model_id: int | None, replaced: int | None, notes: dict[str, Any]
    ) -> Change:
        started = time.monotonic()
        folders = (self._folder, self._canaries)
        taken = [int(entry.name) for folder in folders for entry in entries(folder) if entry.name.isdigit()]
        # As the Pusher numbers them, but never below one that is there: that would not be served.
        number = max(int(time.time()), max(taken, default=0) + 1)
        target = self._folder / str(number)
        execution_id = self._records.begin(change, model_id, number, target, notes)
        try:
            storage.copy_folder(source, target, last=MODEL_FILE)
        except OSError as error:
            self._records.finish(execution_id, succeeded=False)
            raise RegistryError(f"{source} cannot be copied to {self._folder}: {storage.why(error)}.") from error
        self._records.finish(execution_id, succeeded=True)
        return Change(self.version(number), replaced, time.monotonic() - started)

    @contextlib.contextmanager
    def _exclusively(self) -> Iterator[None]:
        """Holds the lock of the registry for one change. Runs do not take part: each pushes a new version."""
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(workspace.lock_of_folder(self._settings, self._folder))
            except workspace.HeldError:
                raise RegistryError(
                    f"Another process is changing the registry {self._folder}; try again when it has finished."
                ) from None
            except OSError as error:
                raise RegistryError(f"The registry {self._folder} cannot be used: {storage.why(error)}.") from error
            self._mend()
            yield

    def _mend(self) -> None:
        """Completes a change whose process was killed, and removes what it left."""
        pushes, present = self._records.pushes(), present_in(self._folder)
        for push in pushes:
            version = push.version
            if version.origin != "run" and not push.finished and is_about(version, self._folder, ()):
                self._records.finish(push.execution_id, succeeded=version.number in present)
        # In a bucket, what is left has the name of a version and no model. So has one that a run is pushing just now;
        # it is recorded when it is whole.
        known = {str(push.version.number) for push in pushes}
        for folder in (self._folder, self._canaries):
            for entry in entries(folder):
                if storage.is_bucket(entry):
                    if entry.name in known and not (entry / MODEL_FILE).is_file():
                        storage.remove_folder(entry)
                elif entry.name.startswith((storage.COPYING, storage.REMOVING)):
                    shutil.rmtree(entry, ignore_errors=True)

    def source(self, version: Version) -> Path | None:
        """Where the SavedModel of a version is: its folder, or the artifact of its model; None if both are gone."""
        model = self._records.models().get(version.model_id or 0)
        for folder in (version.folder, *([model.saved_model] if model else [])):
            if (folder / MODEL_FILE).is_file():
                return folder
        return None

    def _model(self, what: str) -> Model:
        models = self._records.models()
        if what.isdigit() and int(what) in models:
            return models[int(what)]
        try:
            run_id, made = self._records.trained(what)
        except LedgerError as error:
            raise RegistryError(f"There is no model {what}. {error}") from None
        trained = [model for model_id, model in models.items() if model_id in made]
        if not trained:
            raise RegistryError(
                f"Run {run_id} trained no model of {self._settings.use_case.name}: name another run, or the number of "
                "a model's artifact."
            )
        return trained[-1]

    def details(self, version: Version) -> dict[str, Any]:
        """What else is known about a version: its size (None if it is gone), its model, and how it was judged.

        The metrics are those of the run's evaluation by name, empty if it is not recorded.
        """
        files = storage.files_below(version.folder) if version.present else {}
        model = self._records.models().get(version.model_id or 0)
        return {
            "files": len(files) if version.present else None,
            "bytes": sum(size for size, _ in files.values()) if version.present else None,
            "model_uri": model.uri if model else None,
            "infra": model.infra if model else None,
            "metrics": self._records.metrics(version.run_id),
        }


def _refusal(model: Model) -> str | None:
    if not model.blessed:
        return "was not blessed"
    return "was refused by InfraValidator: it cannot serve" if model.infra is False else None


def _changed_at(version: Path) -> datetime:
    """When a version that nobody recorded was last changed; a bucket remembers no time of a folder."""
    file = version / MODEL_FILE if storage.is_bucket(version) else version
    return datetime.fromtimestamp(file.stat().st_mtime).astimezone()
