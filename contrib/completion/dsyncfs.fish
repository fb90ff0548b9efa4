# dsyncfs.fish -- completion of dsyncfs for fish.
# tests/interop/completion.sh holds it to what the program knows.

function __dsyncfs_mount_options
    set -l given (commandline -ct | string match -r '^.*,')
    for o in layout=maildir++ layout=fs remote= sync=manual sync=push sync= commit= stale_names= ro allow_other uid= gid= umask= setuid=
        echo "$given$o"
    end
end

complete -c dsyncfs -f -a '(__fish_complete_directories)'
complete -c dsyncfs -s f -d 'Stay in the foreground'
complete -c dsyncfs -s d -d 'Say what is done'
complete -c dsyncfs -s c -rF -d 'Configuration file'
complete -c dsyncfs -s u -xa '(__fish_complete_users)' -d 'Environment and rights of a user'
complete -c dsyncfs -s o -xa '(__dsyncfs_mount_options)' -d 'Mount options'
complete -c dsyncfs -s h -d 'Usage'
complete -c dsyncfs -s V -d 'Version'
