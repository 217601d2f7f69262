"""The engine's verbs as commands, and the words around their flags: what each does, examples, where its result is."""

from __future__ import annotations

from t2v_tui.cli.engine.estimate import tell_estimate
from t2v_tui.cli.engine.resume_verdict import tell_verdict
from t2v_tui.cli.engine.short_lines import narrator_of_refine, tell_refined
from t2v_tui.cli.engine.verb_command import Verb, command

shapes = command(
    Verb(
        "shapes",
        "Make the built-in world: small clips of coloured shapes that move, with captions, laid out as MSR-VTT is. "
        "It needs no download, and a model learns it in minutes on a CPU. Some combinations of colour, shape and "
        "motion are kept for the test set, so that a model can be asked for something it never saw.",
        ("t2v data shapes", "t2v data shapes --clips 500 --data data/small"),
        "The clips go to data/shapes/videos, the captions to data/shapes/annotations.",
    )
)

check = command(
    Verb(
        "check",
        "Decode every clip once, in full and on all cores, before you spend time on it. The report says which clips "
        "can be used and why the others cannot, how long, large and fast they are, which captions are missing and "
        "which clips are duplicates. A clip that hangs the decoder costs its time limit, not the run. Clips that have "
        "not changed are not decoded again: after an interruption the same command continues where it stopped.",
        (
            "t2v data check",
            "t2v data check --data data/mine --timeout-s 20",
            "t2v data check --frames 16 --stride 4        which clips are too short for preprocess --stride 4",
        ),
        "The report goes to check/report.txt and report.json in the data set's folder, beside a contact sheet; clips "
        "that cannot be used are listed in quarantine.csv, where preprocess skips them. Bad clips are a finding: "
        "the exit code is 0 unless no clip can be used.",
    )
)

preprocess = command(
    Verb(
        "preprocess",
        "Turn clips into VAE latents and captions into CLIP embeddings, once, so that training does not have to; with "
        "--model with that open model's own encoders. "
        "What is already done is kept: after an interruption the same command continues where it stopped. Clips that "
        "cannot be read are listed in quarantine.csv and left out.",
        (
            "t2v preprocess --data data/msr-vtt --device cuda",
            "t2v preprocess --data data/shapes --vae embedded --text-encoder embedded --frames 8 --size 64",
            "t2v preprocess --limit 100          a first try on 100 clips",
            "t2v preprocess --model Wan-AI/Wan2.1-T2V-1.3B-Diffusers --data data/mine    for t2v train --model",
        ),
        "The results go to latents/ and text_embeddings/ in the data set's folder.",
    )
)

manifest = command(
    Verb(
        "manifest",
        "Write the annotations, whatever form they are in, as JSON lines: one object per clip with its id, file, "
        "captions and split. A manifest takes precedence over every other form, so it can be edited and kept.",
        ("t2v data manifest", "t2v data manifest --data data/mine --replace"),
        "The manifests go to annotations/train.manifest.jsonl and test.manifest.jsonl in the data set's folder.",
    )
)

import_latents = command(
    Verb(
        "import-latents",
        "Turn the previous system's folders, latents/VIDEO_ID.pt and text_embeddings/VIDEO_ID.pt, into the store that "
        "training reads. Captions and splits come from the annotations of the data set or, without any there, from "
        "those in OLD_DIR; captions are encoded again. Without annotations the old padded text is used as it is, and "
        "only the seed preset trains on that. Files that cannot be used are listed in quarantine.csv and left out. "
        "After an interruption the same command continues where it stopped.",
        (
            "t2v data import-latents ~/text2video/data/msr-vtt",
            "t2v data import-latents old --data data/msr-vtt --dtype fp32",
        ),
        "The results go to latents/ and text_embeddings/ in the data set's folder. OLD_DIR stays as it is.",
        ("old_dir",),
    )
)

import_checkpoint = command(
    Verb(
        "import-checkpoint",
        "Turn the previous system's checkpoints into t2v's: weights, Adam's moments, epoch and loss. "
        "t2v train --resume then continues as the old loop would have. For generate, refine and evaluate nothing has "
        "to "
        "be imported: they take a .pt as it is (--checkpoint). Every byte is verified first; a file of a folder that "
        "cannot be used is reported and left out. After an interruption the same command continues where it stopped.",
        (
            "t2v import-checkpoint checkpoints/checkpoint_epoch_100.pt",
            "t2v import-checkpoint checkpoints checkpoints/imported --last 5",
            "t2v import-checkpoint checkpoints --last 1 --host a100-golden        there, and nothing is pulled",
        ),
        "The new ones go to CHECKPOINTS/checkpoint_epoch_N [default: checkpoints]. OLD stays as it is.",
        ("old", "checkpoints"),
    )
)

train = command(
    Verb(
        "train",
        "Train a video diffusion model on what preprocess made. Ctrl-C stops it after the current step and saves a "
        "checkpoint; --resume continues from there exactly as if never interrupted. --base "
        "continues from a trained model with other data, --model from an open one; with --lora an adapter is trained "
        "beside it.",
        (
            "t2v train --preset tiny --data data/shapes     minutes on a CPU",
            "t2v train --preset base --device cuda",
            "t2v train --resume",
            "t2v train --lora --base checkpoints/checkpoint_epoch_50 --checkpoints checkpoints/red",
        ),
        "Checkpoints go to checkpoints/; the newest complete one is what generate uses.",
    )
)

generate = command(
    Verb(
        "generate",
        "Make a video from a prompt, with the latest complete checkpoint unless --checkpoint names another. "
        "'--checkpoint embedded' is the small model that comes with t2v and knows the built-in world; --model takes an "
        "open model (Wan, LTX-Video, CogVideoX, Mochi, HunyuanVideo) from the hub or a folder.",
        (
            't2v generate "a dog running in the grass"',
            't2v generate "a red circle moving right" --checkpoint embedded -o red.gif',
            't2v generate "a man talking" --steps 50 --guidance 5 --seed 7',
            't2v generate "a man talking" --model Wan-AI/Wan2.1-T2V-1.3B-Diffusers --lora style.safetensors:0.8',
        ),
        "The video goes to outputs/, or where -o says, with a .json beside it that records how it was made.",
        ("prompt",),
    )
)

sheet = command(
    Verb(
        "sheet",
        "Make a video for each of several prompts, seeds and guidance scales, and one that shows all of them side by "
        "side: a row for each prompt and guidance scale, a column for each seed. PROMPTS is one prompt, or @FILE for a "
        "text file with one per line (empty lines and lines that begin with # are left out). The model is loaded once; "
        "after an interruption the same command keeps what is there and makes the rest.",
        (
            't2v sheet "a red circle moving right" --seeds 4 --guidance-scales 1,2,4 --checkpoint embedded',
            "t2v sheet @prompts.txt --seeds 3",
            "t2v sheet @prompts.txt --host a100-golden -o outputs/sheets/epoch50.mp4",
        ),
        "The sheet goes to outputs/sheets/, or where -o says, and the single videos to a folder of the same name "
        "beside it, each with a .json that records how it was made.",
        ("prompts",),
    )
)

add_noise = command(
    Verb(
        "add-noise",
        "Mix noise into a video: STRENGTH 0.1 is a little, 1 leaves nothing of it. With refine it makes a "
        "before-and-after.",
        ("t2v add-noise input.mp4 noisy.mp4 0.3", "t2v add-noise input.mp4 noisy.gif 0.5 --seed 1"),
        "The noisy video goes to OUTPUT.",
        ("input", "output", "strength"),
    )
)

refine = command(
    Verb(
        "refine",
        "Clean up or change a video: it is noised by STRENGTH and then denoised towards the prompt. About 0.3 "
        "cleans up and keeps what is there; more follows the prompt and forgets the video. When stdout is a pipe or a "
        "file, or with --quiet, it gets a line for each step and one for where the video was saved; --verbose adds "
        "shapes, timesteps, ranges and times. --settings NAME takes checkpoint, prompt and the rest from t2v.toml.",
        (
            't2v refine noisy.mp4 clean.mp4 "dog running on the grass"',
            't2v refine input.mp4 other.mp4 "a cat running on the grass" 0.7',
            "t2v refine noisy.mp4 clean.mp4 --settings epoch100     as [refine.epoch100] of t2v.toml says",
        ),
        "The new video goes to OUTPUT, with a .json beside it that records how it was made.",
        ("input", "output", "prompt", "strength"),
        narrator_of_refine,
    ),
    tell_refined,
)

evaluate = command(
    Verb(
        "evaluate",
        "Score a model on captions of the test set: the CLIP score between prompt and video, beside what the real "
        "clips reach (ceiling) and what wrong captions reach (floor). On the built-in world it also reports how often "
        "colour, shape and motion are what the prompt asked for. --model scores an open model.",
        (
            "t2v evaluate",
            "t2v evaluate --prompts 200 --seeds 4",
            "t2v evaluate --checkpoint embedded --json",
            "t2v evaluate --model Wan-AI/Wan2.1-T2V-1.3B-Diffusers --data data/mine",
        ),
        "The scores are shown as a table and written to a JSON file, whose path goes to stdout.",
    )
)

estimate = command(
    Verb(
        "estimate",
        "Find out, before it costs anything, whether a training run fits and how long it takes: parameters, memory by "
        "part, disk for latents and checkpoints, time per epoch and in all. It accepts what train accepts, settings "
        "included. Times come from three real steps on this machine, or with --gpu from that card's data sheet; it "
        "says which. Without data it assumes MSR-VTT. With --model it estimates one video of an open model instead, "
        "from its configuration, and says with which flags it fits; with --lora it estimates the "
        "training of an adapter beside it.",
        (
            "t2v estimate                               the training that t2v train would do here",
            "t2v estimate --preset base --gpu L4",
            "t2v estimate --preset base --batch-size 8 --gradient-checkpointing --gpu A100-80GB --json",
        ),
        "The estimate goes to stdout.",
    ),
    tell_estimate,
)

verify_resume = command(
    Verb(
        "verify-resume",
        "Prove that training resumes exactly. It trains a few steps on clips of the built-in world, then three "
        "more times with kill -9 about half-way (within an epoch, within an accumulation, while a checkpoint is "
        "written) and --resume, and compares weights, averages, moments and the order of clips and noise to the last "
        "bit. On a GPU any two runs differ a little: it says by how much, and with --deterministic nothing may differ.",
        (
            "t2v verify-resume",
            "t2v verify-resume --preset base --device cuda --deterministic",
            "t2v verify-resume --processes 2 --device cpu",
        ),
        "The verdict goes to stdout; when a resumed run ends differently, the exit code is 1 and the runs are kept.",
    ),
    tell_verdict,
)
