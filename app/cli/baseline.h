// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/support/error.h"

#include <cstdint>
#include <string>

namespace kvilt::cli {

// llama-bench of llama.cpp as a peer on the same machine: one test a call, so that it runs in turns with ours.
struct BaselineTest {
    std::uint32_t prompt = 0, generate = 0; // one of them
    std::uint32_t depth = 0;
    int threads = 0;
    std::string kType = "f16", vType = "f16"; // as llama-bench spells them
};

class Baseline {
public:
    // badInput: no such program.
    static Result<Baseline> create(const std::string &program, const std::string &model);
    // Tokens a second of one repetition. A peer that fails is a sentence, not a crash.
    Result<double> run(const BaselineTest &test) const;

private:
    std::string m_program, m_model;
};

} // namespace kvilt::cli
