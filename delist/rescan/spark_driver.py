"""The JVM that drives a run on Spark: safe, silent, and gone with whoever started it.

The key of the run goes to workers inside their task, and Spark keeps tasks in blocks that it
serves to whoever may ask and may write to disks. So blocks are encrypted wherever they are
written, nothing is served without a secret, and a cluster that is not on this machine has to
encrypt what it sends (docs/scale.md).
"""

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from delist.errors import RescanError, UsageError
from delist.rescan.spark_safety import check_cluster

# It asks for pandas, and for an older one, also where none of it is used.
warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
try:
    from py4j.protocol import Py4JError
    from pyspark import SparkConf, SparkContext
    from pyspark.errors import PySparkException
    from pyspark.java_gateway import launch_gateway
    from pyspark.resource import ResourceProfile, ResourceProfileBuilder, TaskResourceRequests
    from pyspark.sql import SparkSession
except ImportError:
    raise UsageError(
        "--engine spark needs PySpark, which is not installed: pip install 'delist[spark]'"
    ) from None

Profile: TypeAlias = ResourceProfile | None
"""What a task takes of a node."""

SPARK_ERRORS = (PySparkException, Py4JError, OSError)
"""What a call into the JVM raises, also where the JVM is gone."""

_TRIES = 4
"""Of a task, as on clusters; Spark's own for local ones is one."""

_END_S = 10.0
"""For the JVM to end by itself."""

_NO_JAVA = (
    "--engine spark needs Java 17 or newer, which does not start here: install one (Debian:"
    " openjdk-17-jre-headless), or set JAVA_HOME"
)
_JVM_OPTIONS = (
    "-XX:-UsePerfData",  # a file about the process, in a folder that all may read
    "-XX:+UseSerialGC",  # it moves a few lines of text
)
_STARTS_FAST = "-XX:TieredStopAtLevel=1"
"""Half the processor time of a start; a run on a cluster is long, and worth compiling for."""

_SETTINGS = {
    "spark.app.name": "delist",
    "spark.submit.deployMode": "client",
    "spark.io.encryption.enabled": "true",
    # What keeps a record of a run, or shows it.
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.eventLog.enabled": "false",
    "spark.log.level": "OFF",
    "spark.executor.syncLogLevel.enabled": "true",
    # A plan of one step that runs once is not worth being compiled.
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
}
_HERE = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.authenticate": "true",  # with a secret that Spark makes
}
_CLUSTER = {
    # Otherwise who cannot encrypt is talked to in the clear.
    "spark.network.crypto.saslFallback": "false",
}


class SparkDriver:
    """A JVM with a Spark session; to be closed. One at a time in a process.

    Attributes:
        session: the session.
    """

    def __init__(self, *, address: str | None, workers: int, trust_network: bool) -> None:
        """Start the JVM, and connect to a cluster or run tasks on this machine.

        Args:
            address: URL of a Spark master; None runs tasks on this machine.
            workers: most tasks at once on this machine.
            trust_network: says that the network between the nodes is encrypted otherwise.

        Raises:
            UsageError: there is no Java, or the cluster would not be safe.
            RescanError: it cannot be reached.
        """
        _check_java()
        _silence()
        self._folder = tempfile.TemporaryDirectory(
            prefix="delist-spark-", ignore_cleanup_errors=True
        )
        folder = Path(self._folder.name)
        self._here = address is None
        options = (*_JVM_OPTIONS, f'"-Djava.io.tmpdir={folder}"')
        settings = {
            **_SETTINGS,
            "spark.master": address or f"local[{workers},{_TRIES}]",
            "spark.driver.defaultJavaOptions": " ".join(
                (*options, _STARTS_FAST) if self._here else options
            ),
            "spark.sql.warehouse.dir": str(folder / "warehouse"),
            **(_CLUSTER if address else _HERE),
        }
        try:
            with _environment(folder, here=self._here):
                self._gateway = _launched(settings)
                try:
                    if address is not None:
                        check_cluster(address, self._gateway.jvm, trust_network=trust_network)
                    self.session = _session(self._gateway)
                except BaseException:
                    self._end_jvm()
                    raise
        except BaseException:
            self._folder.cleanup()
            raise

    @property
    def pid(self) -> int:
        """The process of the JVM."""
        return int(self._gateway.proc.pid)

    def profile(self, *, cpus: int) -> Profile:
        """Say what a task takes of a node; what runs here takes what there is."""
        if self._here or cpus == 1:
            return None
        made: ResourceProfile = (
            ResourceProfileBuilder().require(TaskResourceRequests().cpus(cpus)).build
        )
        return made

    def is_gone(self) -> bool:
        """Say whether Spark has ended, so that nothing more will come of it."""
        try:
            return bool(self.session.sparkContext._jsc.sc().isStopped())  # noqa: SLF001 - no other way
        except SPARK_ERRORS:
            return True

    def cancel(self) -> None:
        """Give up what is under way."""
        with contextlib.suppress(*SPARK_ERRORS):
            self.session.sparkContext.cancelAllJobs()

    def close(self) -> None:
        """End the JVM, whatever it is at."""
        with contextlib.suppress(*SPARK_ERRORS):
            self.session.stop()
        self._end_jvm()
        self._folder.cleanup()

    def _end_jvm(self) -> None:
        process: subprocess.Popen[bytes] = self._gateway.proc
        with contextlib.suppress(*SPARK_ERRORS):
            self._gateway.shutdown()
        if process.stdin:
            with contextlib.suppress(OSError):
                process.stdin.close()  # it ends when nobody holds the other end
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if SparkContext._gateway is self._gateway:  # noqa: SLF001 - or no other could be started
            SparkContext._gateway = SparkContext._jvm = None  # noqa: SLF001


def _silence() -> None:
    """Keep what Py4J and PySpark say of themselves out of logs: it holds what they were given."""
    for name in ("py4j", "pyspark"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    logging.getLogger().addFilter(_is_not_of_py4j)  # some of it goes to the root


def _is_not_of_py4j(record: logging.LogRecord) -> bool:
    return Path(record.pathname).parent.name != "py4j"


def _check_java() -> None:
    """Look for Java where Spark does."""
    home = os.environ.get("JAVA_HOME")
    if not shutil.which(str(Path(home, "bin", "java")) if home else "java"):
        raise UsageError(_NO_JAVA)


def _launched(settings: Mapping[str, str]) -> Any:  # noqa: ANN401 - Py4J's
    conf = SparkConf(loadDefaults=False)
    for name, value in settings.items():
        conf.set(name, value)
    # Workers write to its standard error too.
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    try:
        return launch_gateway(conf, popen_kwargs=silent)
    except PySparkException:
        raise UsageError(_NO_JAVA) from None


def _session(gateway: Any) -> SparkSession:  # noqa: ANN401 - Py4J's
    # PySpark takes Ctrl-C for itself, and never gives it back.
    interrupted = signal.getsignal(signal.SIGINT)
    try:
        context = SparkContext(gateway=gateway)
        # It prints a traceback when the JVM is killed.
        context._accumulatorServer.handle_error = lambda *_: None  # noqa: SLF001
        return SparkSession(context)
    except SPARK_ERRORS as error:
        raise RescanError(f"the Spark cluster cannot be used: {type(error).__name__}") from None
    finally:
        with contextlib.suppress(ValueError):  # another thread than the main one
            signal.signal(signal.SIGINT, interrupted)


@contextlib.contextmanager
def _environment(folder: Path, *, here: bool) -> Iterator[None]:
    """Set what Spark reads of the environment when it starts, and hands to what it starts."""
    wanted: dict[str, str | None] = {"SPARK_LOCAL_DIRS": str(folder)}
    if here:
        # Nothing that was set for a cluster holds for what is started here.
        conf = folder / "conf"
        conf.mkdir()
        (conf / "log4j2.properties").write_text("rootLogger.level = off\n")
        wanted |= {
            "SPARK_CONF_DIR": str(conf),
            "SPARK_HOME": None,
            "PYSPARK_SUBMIT_ARGS": None,
            "PYSPARK_PYTHON": sys.executable,
        }
    before = {name: os.environ.get(name) for name in wanted}
    _set(wanted)
    try:
        yield
    finally:
        _set(before)


def _set(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
