// SPDX-License-Identifier: Apache-2.0
#include "engine/gguf/gguf_file.h"
#include "engine/text/vocabulary.h"

namespace kvilt::text {

namespace {

template <typename T>
Result<void> readOptional(const gguf::GgufFile &file, std::string_view key, std::optional<T> &out)
{
    KVILT_TRY(out, file.find<T>(key));
    return {};
}

template <typename T>
Result<void> readArray(const gguf::GgufFile &file, std::string_view key, std::vector<T> &out)
{
    KVILT_TRY(auto values, file.find<std::vector<T>>(key));
    if (values)
        out = std::move(*values);
    return {};
}

// Signed, so that -1 ("none" in some files) reads as well as a u32.
Result<void> readId(const gguf::GgufFile &file, std::string_view name, std::optional<std::int64_t> &out)
{
    return readOptional(file, "tokenizer.ggml." + std::string(name) + "_token_id", out);
}

} // namespace

Result<VocabularySource> VocabularySource::fromGguf(const gguf::GgufFile &file)
{
    VocabularySource s;
    KVILT_TRY(const auto model, file.get<std::string_view>("tokenizer.ggml.model"));
    s.model = model;
    KVILT_TRY(const auto pre, file.find<std::string_view>("tokenizer.ggml.pre"));
    s.preTokenizer = pre.value_or("");
    KVILT_TRY(const auto name, file.find<std::string_view>("general.name"));
    s.modelName = name.value_or("");
    KVILT_TRY(s.pieces, file.get<std::vector<std::string_view>>("tokenizer.ggml.tokens"));
    KVILT_TRY_VOID(readArray(file, "tokenizer.ggml.token_type", s.types));
    KVILT_TRY_VOID(readArray(file, "tokenizer.ggml.scores", s.scores));
    KVILT_TRY_VOID(readArray(file, "tokenizer.ggml.merges", s.merges));
    KVILT_TRY_VOID(readId(file, "bos", s.bos));
    KVILT_TRY_VOID(readId(file, "eos", s.eos));
    KVILT_TRY_VOID(readId(file, "eot", s.eot));
    KVILT_TRY_VOID(readId(file, "eom", s.eom));
    KVILT_TRY_VOID(readId(file, "unknown", s.unknown));
    KVILT_TRY_VOID(readId(file, "padding", s.padding));
    KVILT_TRY_VOID(readOptional(file, "tokenizer.ggml.add_bos_token", s.addBos));
    KVILT_TRY_VOID(readOptional(file, "tokenizer.ggml.add_eos_token", s.addEos));
    KVILT_TRY_VOID(readOptional(file, "tokenizer.ggml.add_space_prefix", s.addSpacePrefix));
    return s;
}

} // namespace kvilt::text
