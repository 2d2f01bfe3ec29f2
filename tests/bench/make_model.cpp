// SPDX-License-Identifier: Apache-2.0
// Writes a random model for benchmarks: make_model TYPE FILE.gguf [layers] [8b]
// Llama's shape, width 1024, 16 heads on 4 KV heads of 64, feed forward 2816, so that rows are whole blocks of every type; all
// matrices of TYPE (as GGUF tools write it: Q4_K), head and embedding too. `8b`: the widths of Llama 3 8B (its vocabulary stays
// tiny). Its text makes no sense, its speed does.
#include "tests/support/tiny_model.h"

#include "engine/gguf/tensor_type.h"

#include <cstdio>
#include <cstdlib>
#include <string_view>

int main(int argc, char **argv)
{
    if (argc < 3) {
        std::fprintf(stderr, "make_model TYPE FILE.gguf [layers] [8b]\n");
        return 2;
    }
    kvilt::test::TinyModelOptions options;
    options.width = 1024;
    options.feedForward = 2816;
    options.heads = 16;
    options.kvHeads = 4;
    options.headDim = 64;
    options.contextLength = 8192;
    const int layers = argc > 3 ? std::atoi(argv[3]) : 8;
    if (layers < 1 || layers > 200) {
        std::fprintf(stderr, "%s layers are not possible: 1 to 200\n", argv[3]);
        return 2;
    }
    options.layers = static_cast<std::uint32_t>(layers);
    if (argc > 4 && argv[4] == std::string_view("8b")) {
        options.width = 4096;
        options.feedForward = 14336;
        options.heads = 32;
        options.kvHeads = 8;
        options.headDim = 128;
    }
    for (const auto &entry : kvilt::gguf::allTensorTypes())
        if (entry.name == std::string_view(argv[1])) {
            options.weights = options.embedding = entry.type;
            if (kvilt::test::writeTinyModel(argv[2], options))
                return 0;
            std::fprintf(stderr, "cannot write %s\n", argv[2]);
            return 1;
        }
    std::fprintf(stderr, "%s is no weight type\n", argv[1]);
    return 2;
}
