"""The examples of calls, costs, budgets and providers in the API's documentation."""

from api.examples import ESTIMATE, JOB_ID, Example

RAISE: Example = {"add_usd": 0.5}
MONTHLY: Example = {"monthly_usd": 20}
MONTH: Example = {
    "monthly_usd": 20.0,
    "month": "2026-11",
    "ends_at": "2026-12-01T00:00:00Z",
    "spent_usd": 3.4187,
    "reserved_usd": 0.0488,
    "left_usd": 16.5325,
}
ESTIMATES: Example = {
    "pipeline": "longform",
    "models": [
        ESTIMATE,
        {**ESTIMATE, "model": "google:gemini-2.5-flash", "usd": 0.0159},
    ],
    "based_on": {
        "calls": [
            {"prompt": "longform/decompose_topic", "calls": 1, "input_tokens": 1431, "output_tokens": 750},
            {"prompt": "longform/draft_section", "calls": 5, "input_tokens": 9330, "output_tokens": 2100},
            {"prompt": "longform/adjust_section", "calls": 2, "input_tokens": 3122, "output_tokens": 840},
            {"prompt": "longform/write_transitions", "calls": 1, "input_tokens": 1271, "output_tokens": 120},
            {"prompt": "longform/judge_article", "calls": 1, "input_tokens": 3828, "output_tokens": 290},
        ],
        "notes": ["Tokens are guessed from the length that is asked for, its sections and its sources."],
    },
}
CALLS: Example = {
    "items": [
        {
            "id": "019aa0c2-8e11-7b02-8f3c-1d2e3f4a5b6c",
            "step": "section s1",
            "revision": 1,
            "run": 1,
            "attempt": 1,
            "model": "anthropic:claude-haiku-4-5",
            "prompt": {"name": "longform/draft_section", "version": 3, "characters": 7311},
            "outcome": "failed",
            "reused": False,
            "simulated": False,
            "input_tokens": 0,
            "output_tokens": 0,
            "cached_tokens": 0,
            "cache_write_tokens": 0,
            "reasoning_tokens": 0,
            "usd": 0.0,
            "price_known": True,
            "reserved_usd": 0.0261,
            "settled": False,
            "latency_ms": 312,
            "first_token_ms": None,
            "error": {"code": "overloaded", "message": "The provider is overloaded."},
            "started_at": "2026-11-21T09:30:03.900000Z",
            "finished_at": "2026-11-21T09:30:04.212000Z",
        },
        {
            "id": "019aa0c2-93d7-7f55-9a0e-2c4b6d8e0f12",
            "step": "section s1",
            "revision": 1,
            "run": 1,
            "attempt": 2,
            "model": "anthropic:claude-haiku-4-5",
            "prompt": {"name": "longform/draft_section", "version": 3, "characters": 7311},
            "outcome": "ok",
            "reused": False,
            "simulated": False,
            "input_tokens": 1894,
            "output_tokens": 431,
            "cached_tokens": 1210,
            "cache_write_tokens": 0,
            "reasoning_tokens": 0,
            "usd": 0.00296,
            "price_known": True,
            "reserved_usd": 0.0261,
            "settled": False,
            "latency_ms": 4120,
            "first_token_ms": 640,
            "error": None,
            "started_at": "2026-11-21T09:30:05.300000Z",
            "finished_at": "2026-11-21T09:30:09.420000Z",
        },
    ],
    "next_cursor": None,
}
_FIGURES: Example = {
    "calls": 41,
    "failed_calls": 2,
    "reused_calls": 0,
    "simulated_calls": 0,
    "unpriced_calls": 1,
    "input_tokens": 70511,
    "output_tokens": 15876,
    "cached_tokens": 30204,
    "cache_write_tokens": 2420,
    "reasoning_tokens": 0,
    "usd": 0.1274,
    "reserved_usd": 0.0488,
}
USAGE: Example = {
    "from": "2026-11-21",
    "to": "2026-11-21",
    "by": "job",
    "total": _FIGURES,
    "items": [{"key": JOB_ID, "title": "Tide mills", **_FIGURES}],
    "next_cursor": None,
}
PROVIDERS: Example = {
    "items": [
        {
            "name": "anthropic",
            "configured": True,
            "reachable": False,
            "checked_at": "2026-11-21T09:31:40.100000Z",
            "cooling_down_until": "2026-11-21T09:32:10.100000Z",
            "last_error": {
                "code": "overloaded",
                "message": "The provider is overloaded.",
                "at": "2026-11-21T09:31:40.100000Z",
            },
            "models": [
                {
                    "model": "anthropic:claude-haiku-4-5",
                    "default": True,
                    "context_window": 200000,
                    "usd_per_million": {"input": 1.0, "output": 5.0},
                }
            ],
        },
        {
            "name": "ollama",
            "configured": False,
            "reachable": None,
            "checked_at": None,
            "cooling_down_until": None,
            "last_error": None,
            "models": [
                {
                    "model": "ollama:llama3.2",
                    "default": False,
                    "context_window": 131072,
                    "usd_per_million": {"input": 0.0, "output": 0.0},
                }
            ],
        },
    ]
}
