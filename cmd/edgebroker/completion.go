package main

import (
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"
)

// The scripts ask the program itself what may come next, so they never age.
// They do not eval what was typed, and never ask after "--": there the library
// would take the question for a command to run.
const bashCompletion = `# bash completion for edgebroker; use: source <(edgebroker completion bash)
_edgebroker() {
    local cur="${COMP_WORDS[COMP_CWORD]}" word line
    local words=("${COMP_WORDS[@]:0:COMP_CWORD}")
    COMPREPLY=()
    for word in "${words[@]}"; do
        [[ "$word" == -- ]] && return 0
    done
    case "$cur" in
        --) words+=("-") ;;
        -*) words+=("$cur") ;;
    esac
    while IFS= read -r line; do
        [[ "$line" == "$cur"* ]] && COMPREPLY+=("$line")
    done < <("${words[@]}" --generate-bash-completion 2>/dev/null)
}
complete -o default -F _edgebroker edgebroker
`

const zshCompletion = `#compdef edgebroker
# zsh completion for edgebroker; use: source <(edgebroker completion zsh)
_edgebroker() {
    local cur="${words[CURRENT]}"
    local -a asked opts
    asked=("${(@)words[1,CURRENT-1]}")
    (( ${asked[(Ie)--]} )) && { _files; return }
    case "$cur" in
        --) asked+=("-") ;;
        -*) asked+=("$cur") ;;
    esac
    opts=("${(@f)$("${asked[@]}" --generate-bash-completion 2>/dev/null)}")
    if [[ -n "${opts[1]}" ]]; then
        compadd -- "${opts[@]}"
    else
        _files
    fi
}
compdef _edgebroker edgebroker
`

func completionCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print a completion script for a shell",
		ArgsUsage: "bash|zsh|fish",
		UsageText: `source <(edgebroker completion bash)                  this shell, bash or zsh
edgebroker completion bash > /etc/bash_completion.d/edgebroker
edgebroker completion fish > ~/.config/fish/completions/edgebroker.fish`,
		BashComplete: func(*cli.Context) { fmt.Fprint(e.stdout, "bash\nzsh\nfish\n") },
		Action: func(c *cli.Context) error {
			args, err := e.positionals(c, 1, 1, "the shell (bash, zsh or fish)")
			if err != nil {
				return err
			}
			script := ""
			switch args[0] {
			case "bash":
				script = bashCompletion
			case "zsh":
				script = zshCompletion
			case "fish":
				if script, err = c.App.ToFishCompletion(); err != nil {
					return fmt.Errorf("write fish completion: %w", err)
				}
				script += fishNoFiles
			default:
				return usageError("completion", "no completion for shell %q; there is bash, zsh and fish", args[0])
			}
			_, err = fmt.Fprint(e.stdout, script)
			return err
		},
	}
}

// fishNoFiles keeps fish from offering files where a command is due.
const fishNoFiles = `
complete -c edgebroker -n '__fish_edgebroker_no_subcommand' -f
complete -c edgebroker -n '__fish_seen_subcommand_from clients health stats store version' -f
`

// completionAfterDashes tells a completion request that follows "--". The
// library does not take it for one and would run the command.
func completionAfterDashes(args []string) bool {
	return len(args) > 0 && args[len(args)-1] == "--generate-bash-completion" && slices.Contains(args, "--")
}
