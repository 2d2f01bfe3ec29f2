// SPDX-License-Identifier: Apache-2.0
#include "app/cli/cli.h"
#include "app/cli/input.h"
#include "engine/gguf/gguf_file.h"
#include "engine/text/chat_template.h"
#include "engine/text/tokenizer.h"

#include <chrono>
#include <cstdio>
#include <memory>

namespace kvilt::cli {

namespace {

struct TemplateOptions {
    std::string model, templateFile, messages, tools;
    std::vector<std::string> variables;
    bool addGenerationPrompt = false;
};

struct Source {
    std::string text;
    text::RenderOptions options;
};

// The spelling of BOS and EOS comes from the model; a bare template file has none.
Result<Source> sourceOf(const TemplateOptions &options)
{
    Source source;
    if (!options.templateFile.empty()) {
        KVILT_TRY(source.text, readFile(options.templateFile));
        return source;
    }
    KVILT_TRY(const auto file, gguf::GgufFile::open(options.model));
    KVILT_TRY(const auto stored, file->find<std::string_view>("tokenizer.chat_template"));
    if (!stored)
        return fail(ErrorCode::unsupported, options.model + " has no chat template; name one with --template-file");
    source.text = *stored;
    KVILT_TRY(const auto tokenizer, text::Tokenizer::fromGguf(*file));
    auto spelling = [&](TokenId id) { return id < 0 ? std::string() : std::string(tokenizer->piece(id)); };
    source.options.bosToken = spelling(tokenizer->bos());
    source.options.eosToken = spelling(tokenizer->eos());
    source.options.unknownToken = spelling(tokenizer->unknown());
    return source;
}

Result<std::string> renderTemplate(const TemplateOptions &options)
{
    if (options.model.empty() == options.templateFile.empty())
        return fail(ErrorCode::badInput, "template takes either a model or --template-file");
    KVILT_TRY(Source source, sourceOf(options));
    KVILT_TRY(const text::ChatTemplate parsed, text::ChatTemplate::parse(source.text));
    KVILT_TRY(const std::string messagesText, readFile(options.messages));
    KVILT_TRY(const auto messages, text::parseMessages(messagesText));
    source.options.addGenerationPrompt = options.addGenerationPrompt;
    source.options.unixSeconds = std::chrono::duration_cast<std::chrono::seconds>(
                                     std::chrono::system_clock::now().time_since_epoch())
                                     .count();
    if (!options.tools.empty()) {
        KVILT_TRY(const nlohmann::json tools, readJson(options.tools));
        if (!tools.is_array())
            return fail(ErrorCode::badInput, options.tools + " must be a JSON array of tool definitions");
        source.options.toolsJson = tools.dump();
    }
    for (const std::string &variable : options.variables) {
        const std::size_t equals = variable.find('=');
        if (equals == 0 || equals == std::string::npos)
            return fail(ErrorCode::badInput, "--var takes name=value, not \"" + variable + "\"");
        source.options.variables.emplace_back(variable.substr(0, equals), variable.substr(equals + 1));
    }
    KVILT_TRY(text::RenderedPrompt rendered, parsed.render(messages, source.options));
    return std::move(rendered.text);
}

} // namespace

void addTemplate(Cli &cli)
{
    auto options = std::make_shared<TemplateOptions>();
    Command command = cli.add("template", "Messages to the text of a prompt", [&cli, options]() -> Result<void> {
        KVILT_TRY(const std::string text, renderTemplate(*options));
        if (cli.json)
            printJson({{"text", text}});
        else
            std::fwrite(text.data(), 1, text.size(), stdout);
        return {};
    });
    command.option("model", options->model, "GGUF file with a chat template");
    command.option("--template-file", options->templateFile, "A file with a Jinja template");
    command.option("--messages", options->messages, "JSON array of OpenAI messages").required();
    command.flag("--add-generation-prompt", options->addGenerationPrompt, "End where the reply begins");
    command.option("--tools", options->tools, "JSON array of tool definitions");
    command.option("--var", options->variables, "name=value for the template; JSON where it parses as such")
        .repeatable();
}

} // namespace kvilt::cli
