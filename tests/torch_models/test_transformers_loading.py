"""What is loaded, how often, and what is said where it cannot be."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import shutil
import textwrap
import threading
import weakref
from pathlib import Path

import pytest
import torch
import transformers
from langchain_core.runnables import ConfigurableField
from torch_tiny import eventually, tiny

from langchain_wrap import MissingExtraError, init_llm
from langchain_wrap.models import Transformers, transformers_loading


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What was loaded in the test, in order."""
    gc.collect()  # what other tests have loaded
    seen: list[object] = []
    plain = transformers_loading._load

    def load(recipe: transformers_loading.Recipe) -> object:
        seen.append(recipe.model)
        return plain(recipe)

    monkeypatch.setattr(transformers_loading, "_load", load)
    return seen


def named(folder: Path, **fields: object) -> Transformers:
    return Transformers(model=str(folder), temperature=0, max_new_tokens=5, **fields)


class TestOneCopy:
    def test_objects_with_the_same_name_share_it(self, folder, loads):
        one, two = named(folder), named(folder, max_batch_size=3, seed=1)
        assert one.invoke("x") == two.invoke("x")
        assert one._engine() is two._engine()
        assert loads == [str(folder)]
        other = named(folder, dtype="bfloat16")
        assert other._engine() is not one._engine()
        assert other._engine().model.dtype is torch.bfloat16
        assert len(loads) == 2

    def test_no_copy_loads_again(self, folder, loads):
        llm = named(folder)
        text = llm.invoke("x")
        copies = [
            llm.model_copy(),
            copy.copy(llm),
            copy.deepcopy(llm),
            pickle.loads(pickle.dumps(llm)),
        ]
        copies.append(llm.model_copy(update={"temperature": 0.5, "seed": 1, "top_k": 1}))
        assert [each.invoke("x") for each in copies] == [text] * 5
        assert llm.bind(max_new_tokens=5).invoke("x") == text
        chosen = llm.configurable_fields(max_new_tokens=ConfigurableField(id="most"))
        assert chosen.invoke("x", {"configurable": {"most": 5}}) == text
        assert (
            init_llm(f"transformers:{folder}", temperature=0, max_new_tokens=5).invoke("x") == text
        )
        assert len(loads) == 1

    def test_calls_with_configurable_fields_load_it_once(self, folder, loads):
        # Each is by an object of its own, and the one that all are made from is never called.
        chosen = named(folder).configurable_fields(max_new_tokens=ConfigurableField(id="most"))
        for most in (1, 2, 3):
            chosen.invoke("x", {"configurable": {"most": most}})
        assert len(loads) == 1

    def test_copies_that_differ_do_not_take_it_from_each_other(self, folder, loads):
        one = named(folder)
        two = one.model_copy(update={"dtype": "bfloat16"})
        for _ in range(3):
            one.invoke("x")
            two.invoke("x")
        assert len(loads) == 2

    def test_threads_that_need_it_at_once_load_it_once(self, folder, loads):
        llms = [named(folder) for _ in range(6)]
        barrier = threading.Barrier(6)
        texts = []

        def ask(llm: Transformers) -> None:
            barrier.wait()
            texts.append(llm.invoke("x"))

        threads = [threading.Thread(target=ask, args=(llm,)) for llm in llms]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(texts)) == 1
        assert len(texts) == 6
        assert len(loads) == 1

    def test_it_is_freed_with_the_last_of_them(self, folder, loads):
        one, two = named(folder), named(folder)
        list(one.stream("x"))
        two.invoke("x")
        model = weakref.ref(one._engine().model)
        del one
        gc.collect()
        assert model() is not None
        del two
        assert eventually(lambda: gc.collect() >= 0 and model() is None)
        named(folder).invoke("x")
        assert len(loads) == 2

    def test_another_file_in_its_place_is_another_model(self, folder, loads, tmp_path):
        here = tmp_path / "model"
        shutil.copytree(folder, here)
        one = named(here)
        one.invoke("x")
        before = one._identifying_params
        tiny(seed=5)[0].save_pretrained(here)
        os.utime(here / "model.safetensors", (1, 1))
        two = named(here)
        assert two.invoke("x") != one.invoke("x")
        assert len(loads) == 2
        assert two._identifying_params != before

    def test_loaded_objects_are_shared_as_well(self, loads):
        model, own = tiny()
        pipe = transformers.pipeline("text-generation", model=model, tokenizer=own)
        one, two = (
            Transformers(model=model, tokenizer=own),
            Transformers(pipeline=pipe),
        )
        assert one._engine() is two._engine()
        assert copy.deepcopy(one).model is model

    def test_the_tokenizer_can_be_another_folders(self, folder, tmp_path):
        bare, own = tmp_path / "bare", tmp_path / "own"
        tiny()[0].save_pretrained(bare)
        tiny()[1].save_pretrained(own)
        llm = named(bare, tokenizer=own)
        assert llm.invoke("x") == named(folder).invoke("x")
        assert llm._engine() is named(bare, tokenizer=str(own))._engine()


def test_a_loaded_model_survives_pickling():
    model, own = tiny()
    llm = Transformers(model=model, tokenizer=own, temperature=0, max_new_tokens=5)
    text = llm.invoke("x")
    assert pickle.loads(pickle.dumps(llm)).invoke("x") == text


class TestPipeline:
    def test_an_existing_one(self, llm):
        pipe = transformers.pipeline("text-generation", model=llm.model, tokenizer=llm.tokenizer)
        found = Transformers(pipeline=pipe, temperature=0, max_new_tokens=12)
        assert found.invoke("hello") == llm.invoke("hello")
        assert found.batch(["a", "hello"]) == llm.batch(["a", "hello"])
        assert found._model_name == "LlamaForCausalLM"

    def test_what_it_was_made_with_is_not_dropped_silently(self, llm):
        pipe = transformers.pipeline(
            "text-generation", model=llm.model, tokenizer=llm.tokenizer, max_new_tokens=3
        )
        with pytest.raises(ValueError, match=r"made with max_new_tokens=3.*give it here as well"):
            Transformers(pipeline=pipe)
        assert Transformers(pipeline=pipe, max_new_tokens=2).invoke("x")

    @pytest.mark.parametrize("name", ["tokenizer", "device", "dtype", "revision"])
    def test_what_is_its_own(self, llm, name):
        pipe = transformers.pipeline("text-generation", model=llm.model, tokenizer=llm.tokenizer)
        with pytest.raises(ValueError, match=f"{name} is the pipeline's own"):
            Transformers(pipeline=pipe, **{name: "float32"})

    def test_one_that_is_none(self, llm):
        with pytest.raises(ValueError, match="must be a text-generation pipeline"):
            Transformers(pipeline=object())
        with pytest.raises(ValueError, match="just one of them"):
            Transformers(pipeline=object(), model="x")


class TestErrors:
    def test_neither_model_nor_pipeline(self):
        with pytest.raises(ValueError, match="either model or pipeline"):
            Transformers()

    @pytest.mark.parametrize("model", ["/no/such/folder", "~/no/such", "./x", "a/b/c", ""])
    def test_no_such_folder(self, model):
        with pytest.raises(FileNotFoundError, match="no such file or folder"):
            Transformers(model=model)

    def test_no_such_gguf_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"x\.gguf"):
            Transformers(model=tmp_path / "x.gguf")
        (tmp_path / "y.gguf").write_text("something else")
        with pytest.raises(ValueError, match="GGUF"):
            Transformers(model=tmp_path / "y.gguf")

    def test_a_loaded_model_without_its_tokenizer(self):
        with pytest.raises(ValueError, match="give tokenizer as well"):
            Transformers(model=tiny()[0])

    def test_a_folder_without_a_tokenizer(self, tmp_path):
        tiny()[0].save_pretrained(tmp_path)
        with pytest.raises(ValueError, match=r"(?s)no tokenizer.*tokenizer=\.\.\."):
            named(tmp_path).invoke("x")

    def test_an_encoder_decoder(self, tmp_path):
        config = transformers.T5Config(
            vocab_size=32, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2
        )
        model = transformers.T5ForConditionalGeneration(config)
        with pytest.raises(ValueError, match=r"encoder-decoder model.*decoder-only"):
            Transformers(model=model, tokenizer=tiny()[1])
        model.save_pretrained(tmp_path)
        tiny()[1].save_pretrained(tmp_path)
        with pytest.raises(ValueError, match=r"encoder-decoder model.*decoder-only"):
            named(tmp_path).invoke("x")

    def test_a_model_that_generates_nothing(self):
        config = transformers.BertConfig(
            vocab_size=32, hidden_size=8, num_hidden_layers=1, num_attention_heads=2
        )
        with pytest.raises(ValueError, match="BertModel does not generate text"):
            Transformers(model=transformers.BertModel(config), tokenizer=tiny()[1])

    @pytest.mark.parametrize("dtype", ["float17", "int8", "bf16", ""])
    def test_dtype(self, dtype, folder):
        with pytest.raises(ValueError, match=r"no dtype .*float32"):
            named(folder, dtype=dtype)

    def test_dtypes(self, folder):
        for dtype in (torch.float16, "torch.float16", "float16"):
            assert named(folder, dtype=dtype).dtype == "float16"
        assert named(folder, dtype="float16")._engine().model.dtype is torch.float16
        assert named(folder, dtype="auto")._engine().model.dtype is torch.float64
        assert named(folder)._engine().model.dtype is torch.float64
        with pytest.raises(ValueError, match="this one is loaded"):
            Transformers(model=tiny()[0], tokenizer=tiny()[1], dtype="float16")

    @pytest.mark.parametrize("device", ["cuda:7", "gpu", "cpu:x", "meta", "", "mps:9"])
    def test_device(self, device, folder):
        with pytest.raises(ValueError, match=r"device=.* cannot be used \(.*There is here: cpu"):
            named(folder, device=device).invoke("x")

    def test_devices(self, folder):
        text = named(folder).invoke("x")
        for device in ("cpu", torch.device("cpu"), "cpu:0", "auto"):
            assert named(folder, device=device).invoke("x") == text

    def test_revision_of_a_file(self):
        with pytest.raises(ValueError, match="revision"):
            Transformers(model="smollm2", revision="main")

    def test_a_name_that_nobody_can_be_asked_for(self, monkeypatch):
        """Whatever is wrong with the Hub, what the library says of it is not hidden."""
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        with pytest.raises(OSError, match=r"(?s)'langchain-wrap-test/nothing'.*offline"):
            Transformers(model="langchain-wrap-test/nothing").invoke("x")

    def test_a_list_does_not_try_to_load_again_and_again(self, loads, tmp_path):
        llm = named(tmp_path)
        found = llm.batch(["x"] * 16, return_exceptions=True)
        assert {type(one) for one in found} == {ValueError}
        assert len(loads) == 1

    def test_later_it_tries_again(self, loads, tmp_path, folder, monkeypatch):
        monkeypatch.setattr(transformers_loading, "_SAME", 0.0)
        llm = named(tmp_path)
        with pytest.raises(ValueError, match="Unrecognized model"):
            llm.invoke("x")
        shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
        assert llm.invoke("x") == named(folder).invoke("x")


@pytest.mark.parametrize(
    ("missing", "model", "when"),
    [
        ("torch", "some/model", "made"),
        ("transformers", "some/model", "made"),
        ("gguf", "smollm2", "made"),
        ("accelerate", "smollm2", "made"),
        ("gguf", "some/model", "never"),
    ],
)
def test_missing_packages(run_python, missing, model, when):
    code = textwrap.dedent(f"""
        import sys

        class Block:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] == {missing!r}:
                    raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

        sys.meta_path.insert(0, Block())
        from langchain_wrap import MissingExtraError
        from langchain_wrap.models.transformers import Transformers

        print("imported", "torch" in sys.modules)
        try:
            Transformers(model={model!r})
        except MissingExtraError as error:
            print(error)
        print("torch" in sys.modules)
    """)
    done = run_python(code)
    line = "Transformers needs an extra: pip install 'langchain-wrap[transformers]'"
    expected = ["imported False", *([line] if when == "made" else []), "False"]
    assert done.stdout.splitlines() == expected, done.stderr


def test_the_error_is_an_import_error():
    assert issubclass(MissingExtraError, ImportError)


def test_what_it_is_known_by(llm, folder):
    assert llm._get_ls_params()["ls_model_name"] == "LlamaForCausalLM"
    assert named(folder)._identifying_params["model_name"] == str(folder)
    small = Transformers(model="smollm2")._identifying_params
    assert small["model_name"] == "SmolLM2-135M-Instruct.Q4_1"
    assert small["model_file"].startswith("sha256:")


class TestTokenizer:
    def test_the_chat_template_is_its_own(self):
        model, own = tiny()
        llm = Transformers(model=model, tokenizer=own)
        assert llm._chat_template() is None
        own.chat_template = "{{ messages }}"
        assert llm._chat_template() == "{{ messages }}"
        own.chat_template = {"default": "{{ x }}", "tool_use": "{{ y }}"}
        assert llm._chat_template() == "{{ x }}"

    def test_special_tokens(self):
        model, own = tiny()
        llm = Transformers(model=model, tokenizer=own)
        assert llm._special_tokens() == {"eos_token": "</s>"}

    def test_counts_are_its_own(self, llm):
        for text in ("", "the cat", "né €", "<mark>"):
            assert llm.get_token_ids(text) == llm.tokenizer(text)["input_ids"]
