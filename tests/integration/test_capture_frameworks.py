"""The hook in small applications of Django, Flask and FastAPI, laid out as their manuals say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import servers
from tests.support.stage import Listener

DJANGO_SETTINGS = """
SECRET_KEY = "x"
INSTALLED_APPS = ["shop", "z4j_exporter.capture.django"]
ROOT_URLCONF = "{package}.urls"
CELERY_BROKER_URL = {url!r}
CELERY_Z4J_CAPTURE = {{"redact_keys": ["badge"]}}
"""
DJANGO_CELERY = """
import os
from celery import Celery
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "{settings}")
app = Celery("{package}")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
"""
DJANGO_TASKS = """
from celery import shared_task
@shared_task
def order(**kwargs):
    pass
"""
DJANGO_RUN = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "{settings}"
import django
django.setup()
from shop.tasks import order
order.delay(size=1)
order.delay(badge="A44")
"""

#: The layout of Celery's manual, and that of cookiecutter-django.
LAYOUTS = {
    "manual": {
        "package": "proj",
        "settings": "proj.settings",
        "celery": "proj/celery.py",
        "init": "from .celery import app as celery_app\n__all__ = ('celery_app',)\n",
        "app": "proj.celery:app",
    },
    "cookiecutter": {
        "package": "config",
        "settings": "config.settings.production",
        "celery": "config/celery_app.py",
        "init": "from .celery_app import app as celery_app\n__all__ = ('celery_app',)\n",
        "app": "config.celery_app:app",
    },
}


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def run(root: Path, program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=root,
        env={"PYTHONPATH": f"{root}:{servers.PROJECT}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def notes(listener: Listener, n: int) -> list[dict[str, Any]]:
    listener.wait(
        lambda events: sum(e["type"] == "z4j-envelope" for e in events) >= n, f"{n} envelopes", 10
    )
    return [r.event["z4j"] for r in listener.received if r.event["type"] == "z4j-envelope"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_django(layout: str, valkey: servers.Redis, tmp_path: Path) -> None:
    pytest.importorskip("django")
    names = LAYOUTS[layout]
    package = names["package"]
    settings = names["settings"].replace(".", "/") + ".py"
    files = {
        f"{package}/__init__.py": names["init"],
        f"{package}/urls.py": "urlpatterns = []\n",
        settings: DJANGO_SETTINGS.format(url=valkey.url, **names),
        names["celery"]: DJANGO_CELERY.format(**names),
        "shop/__init__.py": "",
        "shop/tasks.py": DJANGO_TASKS,
    }
    if "production" in settings:
        files["config/settings/__init__.py"] = ""
    write(tmp_path, files)
    with Listener(valkey.url) as listener:
        run(tmp_path, DJANGO_RUN.format(**names))
        plain, secret = notes(listener, 2)
    assert plain["app"] == names["app"]
    assert plain["name"] == "shop.tasks.order"
    assert plain["replayable"] is True
    assert secret["withheld"] == "redacted"  # CELERY_Z4J_CAPTURE is the hook's configuration
    assert secret["redacted_kwargs"] == {"badge": "[redacted]"}


def test_django_with_the_application_named(valkey: servers.Redis, tmp_path: Path) -> None:
    pytest.importorskip("django")
    names = {"package": "site1", "settings": "site1.settings"}
    write(
        tmp_path,
        {
            "site1/__init__.py": "",
            "site1/settings.py": DJANGO_SETTINGS.format(url=valkey.url, **names)
            + 'Z4J_CAPTURE_APP = "queues.orders:queue_app"\n',
            "queues/__init__.py": "",
            "queues/orders.py": DJANGO_CELERY.format(**names).replace("app", "queue_app"),
            "shop/__init__.py": "",
            "shop/tasks.py": DJANGO_TASKS,
        },
    )
    with Listener(valkey.url) as listener:
        run(tmp_path, DJANGO_RUN.format(**names))
        assert notes(listener, 2)[0]["app"] == "queues.orders:queue_app"


def test_django_without_celery_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("django")
    write(
        tmp_path,
        {
            "lone/__init__.py": "",
            "lone/settings.py": 'SECRET_KEY = "x"\n'
            'INSTALLED_APPS = ["z4j_exporter.capture.django"]\nLOGGING_CONFIG = None\n',
        },
    )
    program = (
        "import logging, os; logging.disable()\n"
        "os.environ['DJANGO_SETTINGS_MODULE'] = 'lone.settings'\n"
        "import django; django.setup()\n"
        "from z4j_exporter.capture import handlers\nassert not handlers.captures\n"
    )
    run(tmp_path, program)


FLASK = """
from celery import Celery, Task, shared_task
from flask import Flask
from z4j_exporter import capture

def celery_init_app(app):
    class FlaskTask(Task):
        def __call__(self, *args, **kwargs):
            with app.app_context():
                return self.run(*args, **kwargs)
    celery_app = Celery(app.name, task_cls=FlaskTask)
    celery_app.config_from_object(app.config["CELERY"])
    celery_app.set_default()
    app.extensions["celery"] = celery_app
    return celery_app

def create_app():
    app = Flask("web")
    app.config.from_mapping(CELERY=dict(broker_url={url!r}, task_ignore_result=True))
    celery_init_app(app)
    capture.install(app.extensions["celery"])
    return app

@shared_task
def order(size):
    pass

app = create_app()

@app.post("/orders")
def orders():
    return order.delay(3).id
"""
FLASK_RUN = "import web\nassert web.app.test_client().post('/orders').status_code == 200\n"

FASTAPI = """
from celery import Celery
from fastapi import FastAPI
from z4j_exporter import capture

celery_app = Celery("web", broker={url!r})
capture.install(celery_app)

@celery_app.task
def order(size):
    pass

app = FastAPI()

@app.post("/orders")
async def orders():
    return order.delay(3).id
"""
FASTAPI_RUN = (
    "import web\nfrom fastapi.testclient import TestClient\n"
    "assert TestClient(web.app).post('/orders').status_code == 200\n"
)


@pytest.mark.parametrize(
    ("framework", "web", "program", "app"),
    [("flask", FLASK, FLASK_RUN, "web"), ("fastapi", FASTAPI, FASTAPI_RUN, "web:celery_app")],
)
def test_flask_and_fastapi(
    framework: str, web: str, program: str, app: str, valkey: servers.Redis, tmp_path: Path
) -> None:
    pytest.importorskip(framework)
    (tmp_path / "web.py").write_text(web.format(url=valkey.url))
    with Listener(valkey.url) as listener:
        run(tmp_path, program)
        [told] = notes(listener, 1)
    assert told["app"] == app
    assert told["name"] == "web.order"
    assert told["payload"]["body"].startswith("[[3], {}")
