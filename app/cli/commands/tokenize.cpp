// SPDX-License-Identifier: Apache-2.0
#include "app/cli/cli.h"
#include "app/cli/input.h"
#include "engine/gguf/gguf_file.h"
#include "engine/text/tokenizer.h"

#include <cstdio>
#include <memory>
#include <optional>

namespace kvilt::cli {

namespace {

// A vocabulary-only file will do: no model is loaded.
Result<std::shared_ptr<const text::Tokenizer>> tokenizerOf(const std::string &path)
{
    KVILT_TRY(const auto file, gguf::GgufFile::open(path));
    return text::Tokenizer::fromGguf(*file);
}

struct TokenizeOptions {
    std::string model, text, textFile;
    bool parseSpecial = false, noBos = false;
    std::optional<Option> textOption;
};

Result<void> tokenize(const Cli &cli, const TokenizeOptions &options)
{
    std::string text = options.text;
    if (!options.textOption->given()) {
        KVILT_TRY(text, readFile(options.textFile));
    }
    KVILT_TRY(const auto tokenizer, tokenizerOf(options.model));
    KVILT_TRY(const text::Encoding encoding,
              tokenizer->encode(text, {.parseSpecial = options.parseSpecial, .addBos = !options.noBos}));
    nlohmann::json pieces = nlohmann::json::array();
    for (TokenId id : encoding.ids)
        pieces.push_back(std::string(tokenizer->piece(id)));
    if (cli.json) {
        printJson({{"tokens", encoding.ids}, {"pieces", pieces}});
        return {};
    }
    for (std::size_t i = 0; i < encoding.ids.size(); ++i)
        std::printf("%7d  %s\n", encoding.ids[i],
                    pieces[i].dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
    return {};
}

} // namespace

void addTokenize(Cli &cli)
{
    auto options = std::make_shared<TokenizeOptions>();
    Command command =
        cli.add("tokenize", "Text to token ids", [&cli, options] { return tokenize(cli, *options); });
    command.option("model", options->model, "GGUF file, vocabulary-only will do").required();
    Command input = command.oneOf("input");
    options->textOption = input.option("--text", options->text, "The text");
    input.option("--text-file", options->textFile, "A file with the text, byte for byte; -: standard input");
    command.flag("--parse-special", options->parseSpecial, "Control tokens spelled in the text become tokens");
    command.flag("--no-bos", options->noBos, "Add no BOS");
}

void addDetokenize(Cli &cli)
{
    auto model = std::make_shared<std::string>();
    auto tokensFile = std::make_shared<std::string>();
    Command command = cli.add("detokenize", "Token ids to text", [&cli, model, tokensFile]() -> Result<void> {
        KVILT_TRY(const auto tokenizer, tokenizerOf(*model));
        KVILT_TRY(const std::vector<TokenId> tokens, readTokens(*tokensFile, tokenizer->vocabSize()));
        KVILT_TRY(const std::string text, tokenizer->decode(tokens));
        if (cli.json)
            printJson({{"text", text}});
        else
            std::fwrite(text.data(), 1, text.size(), stdout);
        return {};
    });
    command.option("model", *model, "GGUF file").required();
    command.option("--tokens-file", *tokensFile, "A JSON array of ids").required();
}

} // namespace kvilt::cli
